"""AUDITOR's `rbac_config` as grants for the owners of certificates.

A reader with `data_access_rules` sees what these say, whatever other lists hold their name; the rules are that reader's
own (in AUDITOR they are everybody's).
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from jobmeter.serve.access import CertificateGrant
from jobmeter.serve.casbin import BASE, Imported, Policy, imported
from jobmeter.settings.fault import WrongValue

Names = tuple[str, ...]
_LISTED: dict[str, Any] = {"scalar_ok": True}
_ROLES = ("monitoring_role", "write_access_base", "read_access_base")


class DataRule(Struct, frozen=True):
    """Which records a reader may see, by AUDITOR's keys."""

    reader_cn: Annotated[str, Meta(description="Common name of the reader's certificate.")]
    meta_info: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="Meta keys and the values that may be seen: one of them, under each key."),
    ]

    def __post_init__(self) -> None:
        if not self.meta_info or not all(self.meta_info.values()):
            raise WrongValue("meta_info", "must name a key, and values for each; else list it under read_access_cn")


class RbacConfig(Struct, frozen=True):
    """AUDITOR's access rules, kept for the owners of client certificates; beside them tokens count."""

    enforce_rbac: Annotated[bool, Meta(description="Apply the access rules.")] = True
    monitoring_role_cn: Annotated[Names, Meta(description="Who may read /metrics, by common name.", extra=_LISTED)] = ()
    write_access_cn: Annotated[Names, Meta(description="Who may write records, by common name.", extra=_LISTED)] = ()
    read_access_cn: Annotated[Names, Meta(description="Who may read records, by common name.", extra=_LISTED)] = ()
    data_access_rules: Annotated[
        tuple[DataRule, ...], Meta(description="Readers who may see some records only, by common name.")
    ] = ()
    base_policies: Annotated[
        tuple[tuple[str, ...], ...], Meta(description="AUDITOR's triples of role, path, method.")
    ] = ()


def grants_of(rbac: RbacConfig) -> Imported:
    """The grants, and a sentence about everything that cannot be carried over as it stands."""
    triples = [(line[0], line[1], line[2]) for line in rbac.base_policies if len(line) == 3] or list(BASE)
    limited = {rule.reader_cn for rule in rbac.data_access_rules}
    members = [(name, _ROLES[0]) for name in rbac.monitoring_role_cn]
    members += [(name, _ROLES[1]) for name in rbac.write_access_cn]
    members += [(name, _ROLES[2]) for name in rbac.read_access_cn if name not in limited]
    general = imported(Policy(tuple(triples), tuple(members), {}))
    faults = list(general.faults)
    faults += [
        f"base_policies: {line} is no triple of role, path and method" for line in rbac.base_policies if len(line) != 3
    ]
    faults += [
        f"base_policies: {role} is none of AUDITOR's roles {', '.join(_ROLES)}"
        for role in dict.fromkeys(role for role, _, _ in triples)
        if role not in _ROLES
    ]
    rules = [
        CertificateGrant(roles=("read",), common_name=rule.reader_cn, meta=rule.meta_info)
        for rule in rbac.data_access_rules
    ]
    # A writer that the general part lets read as well (by base policies of one's own) must not see more than its rule.
    kept = [grant for grant in general.grants if grant.common_name not in limited or "read" not in grant.roles]
    faults += [
        f"base_policies let {grant.common_name} read everything, data_access_rules do not"
        for grant in general.grants
        if grant not in kept
    ]
    return Imported((*kept, *rules), tuple(faults))

"""AUDITOR's access rules, its casbin policy among them, read as grants for the owners of certificates.

AUDITOR's model: a subject may do what a policy line `p, ROLE, PATH, METHOD` says for it or for a role that a line
`g, SUBJECT, ROLE` gives it; a path may end in `*`. Lines `p, meta, KEY, VALUE` name what readers may see. Facts: the
study of its behaviour, and casbin's documents for the form of the files.

What is different here, always to the safe side: values of `meta` lines are an OR, and they limit every question.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from msgspec import Struct

from jobmeter.model.access import Role
from jobmeter.serve.access import CertificateGrant, RoleName

BASE = (
    ("monitoring_role", "/metrics", "GET"),
    ("write_access_base", "/record", "POST"),
    ("write_access_base", "/record", "PUT"),
    ("write_access_base", "/records", "POST"),
    ("read_access_base", "/records", "GET"),
    ("read_access_base", "/record/*", "GET"),
)
"""AUDITOR's own policies, for roles that it fills from its configuration. The health check, open here, is left out."""

_ROLES: tuple[tuple[RoleName, tuple[tuple[str, str], ...]], ...] = (
    ("write", (("/record", "POST"), ("/record", "PUT"), ("/records", "POST"))),
    ("read", (("/records", "GET"), ("/record/an-id", "GET"))),
    ("monitor", (("/metrics", "GET"),)),
)
"""What one of our roles opens, of AUDITOR's paths: it is given where all of it is allowed."""

_MATCHER = "g(r.sub,p.sub)&&keyMatch(r.obj,p.obj)&&r.act==p.act"
_DEFINITIONS = {"r": "sub,obj,act", "p": "sub,obj,act", "g": "_,_"}

Triple = tuple[str, str, str]


class Imported(Struct, frozen=True):
    """The grants that come out, and a sentence about everything that could not be carried over as it stands."""

    grants: tuple[CertificateGrant, ...]
    faults: tuple[str, ...]


class Policy(Struct, frozen=True):
    """The lines of a policy: what roles may do, who has which role, and the meta values that may be seen."""

    policies: tuple[Triple, ...]
    roles: tuple[tuple[str, str], ...]
    meta: dict[str, tuple[str, ...]]
    faults: tuple[str, ...] = ()


def parse_policy(text: str) -> Policy:
    """The lines of a casbin policy file; a line that is none of AUDITOR's forms is told among the faults."""
    policies: list[Triple] = []
    roles: list[tuple[str, str]] = []
    meta: dict[str, tuple[str, ...]] = {}
    faults = []
    for number, fields in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), 1):
        match [field.strip() for field in fields]:
            case []:
                continue
            case [first, *_] if first.startswith("#") or not first:
                continue
            case ["p", "meta", key, value]:
                meta[key] = (*meta.get(key, ()), value)
            case ["p", subject, path, method]:
                policies.append((subject, path, method))
            case ["g", subject, role]:
                roles.append((subject, role))
            case _:
                faults.append(f"line {number} is neither p, SUBJECT, PATH, METHOD nor g, SUBJECT, ROLE")
    return Policy(tuple(policies), tuple(roles), meta, tuple(faults))


def model_faults(text: str) -> list[str]:
    """Where a casbin model file departs from AUDITOR's; with another model the policy would mean something else."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("#")[0].partition("=")
        if sign:
            found[name.strip()] = "".join(value.split())
    faults = [
        f"{name} must be {want}, it is {found.get(name)}"
        for name, want in _DEFINITIONS.items()
        if found.get(name) != want
    ]
    if sorted(found.get("m", "").split("&&")) != sorted(_MATCHER.split("&&")):
        faults.append(f"the matcher must be {_MATCHER}, it is {found.get('m')}")
    if found.get("e") not in ("some(where(p.eft==allow))", None):
        faults.append(f"the effect must be some(where (p.eft == allow)), it is {found.get('e')}")
    return faults


def imported(policy: Policy) -> Imported:
    """What the owners of certificates may do by this policy: all who are given a role, or named by a line itself."""
    faults = list(policy.faults)
    grants = []
    roles = {role for _, role in policy.roles} | {role for role, _, _ in BASE}
    subjects = dict.fromkeys([subject for subject, _ in policy.roles] + [subject for subject, _, _ in policy.policies])
    for subject in subjects:
        if subject in roles:
            continue
        held = _closure(subject, policy.roles)
        allowed = [(path, method) for role, path, method in policy.policies if role in held]
        names, partial = granted_roles(allowed)
        faults += [f"{subject} may do a part of {name} only; nothing of it is granted" for name in partial]
        grants += _grants(subject, names, policy.meta)
    return Imported(tuple(grants), tuple(faults))


def granted_roles(allowed: Iterable[tuple[str, str]]) -> tuple[list[RoleName], list[RoleName]]:
    """Our roles that paths and methods amount to: those given whole, and those given in part."""
    allowed = list(allowed)
    whole: list[RoleName] = []
    partial: list[RoleName] = []
    for name, probes in _ROLES:
        opened = [any(_fits(path, method, probe) for path, method in allowed) for probe in probes]
        if all(opened):
            whole.append(name)
        elif any(opened):
            partial.append(name)
    return whole, partial


def _grants(subject: str, names: Sequence[RoleName], meta: dict[str, tuple[str, ...]]) -> list[CertificateGrant]:
    """One grant, or two where only what is read is limited."""
    free = tuple(name for name in names if name != "read" or not meta)
    grants = [CertificateGrant(roles=free, common_name=subject)] if free else []
    if meta and Role.READ.value in names:
        grants.append(CertificateGrant(roles=("read",), common_name=subject, meta=meta))
    return grants


def _closure(subject: str, roles: Sequence[tuple[str, str]]) -> set[str]:
    held = {subject}
    while more := {role for member, role in roles if member in held} - held:
        held |= more
    return held


def _fits(path: str, method: str, probe: tuple[str, str]) -> bool:
    wanted, how = probe
    matches = wanted.startswith(path.partition("*")[0]) if "*" in path else wanted == path
    return matches and method == how

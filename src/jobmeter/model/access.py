"""Who asks, and what the asker may do: grants as values, decisions as pure functions of them.

A grant gives roles within limits. Several grants of one asker are an OR; the parts of one limit (sites, clusters,
prefixes, meta) hold together; the values within a part are an OR. A part that is not given limits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import product

from msgspec import Struct

from jobmeter.model.question import Rule, Scope

SITE_KEYS = ("site_id", "site")
CLUSTER_KEYS = ("cluster_id", "cluster")
"""The meta keys that may name the site and the cluster of a record; all values under them count."""

ANYONE = "anyone"
"""The name of all askers where nobody is asked who they are."""

Words = Mapping[str, tuple[str, ...]]
"""The meta of a record, as far as a decision needs it."""


class Role(Enum):
    """What may be allowed."""

    WRITE = "write"
    """Add records and stop them."""
    WRITE_DOCUMENTS = "write-documents"
    """Add documents of the facility, and samples."""
    READ = "read"
    """Ask for records, totals and what is made of them."""
    CORRECT = "correct"
    """Change and withdraw stored records."""
    ADMINISTER = "administer"
    """See dead letters and everything else that belongs to nobody; decide conflicts."""
    MONITOR = "monitor"
    """Read /metrics."""
    REPORT = "report"
    """Tell what was published."""


class Limits(Struct, frozen=True):
    """Which records or documents a grant is about."""

    sites: tuple[str, ...] | None = None
    clusters: tuple[str, ...] | None = None
    prefixes: tuple[str, ...] | None = None
    """Beginnings of record ids. They limit writing and correcting; a grant that reads has none."""
    meta: Mapping[str, tuple[str, ...]] = {}

    @property
    def _demands(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Per part: the meta keys that it looks at, and the values allowed there."""
        parts = [(SITE_KEYS, self.sites), (CLUSTER_KEYS, self.clusters)]
        named = [(keys, values) for keys, values in parts if values is not None]
        return [*named, *(((key,), values) for key, values in self.meta.items())]

    def fault(self, record_id: str, meta: Words | None) -> tuple[str, str] | None:
        """Why a record lies outside, (field, reason), or None when it names a value for each part and no other."""
        if self == NO_LIMITS:
            return None
        if self.prefixes is not None and not record_id.startswith(self.prefixes):
            return "record_id", f"must begin with {' or '.join(map(repr, self.prefixes))}"
        for keys, allowed in self._demands:
            named = [value for key in keys for value in (meta or {}).get(key, ())]
            if not named or any(value not in allowed for value in named):
                which = " and ".join(keys)
                return f"meta[{keys[0]!r}]", f"{which} must name only {', '.join(map(repr, allowed))}, and one of them"
        return None

    def cover_place(self, site: str | None, cluster: str | None) -> bool:
        """Whether what a site or a cluster tells (a document, a sample) lies within. Prefixes and meta allow none."""
        if self.prefixes is not None or self.meta:
            return False
        return (self.sites is None or site in self.sites) and (self.clusters is None or cluster in self.clusters)

    @property
    def rules(self) -> tuple[tuple[Rule, ...], ...] | None:
        """The same for reading, as a scope has it: None for no limit."""
        demands = self._demands
        if not demands:
            return None
        choices = [[Rule(key, allowed) for key in keys] for keys, allowed in demands]
        return tuple(product(*choices))


NO_LIMITS = Limits()


class Grant(Struct, frozen=True):
    """Some roles within one set of limits."""

    roles: frozenset[Role]
    limits: Limits = NO_LIMITS


class Asker(Struct, frozen=True):
    """Who asks: a name for logs and for the history of records, and what was granted to them."""

    name: str
    grants: tuple[Grant, ...]

    @classmethod
    def anyone(cls, name: str = ANYONE) -> Asker:
        """An asker who may do everything: where nobody is asked who they are."""
        return cls(name, (Grant(frozenset(Role)),))

    def may(self, role: Role) -> bool:
        """Whether the role was granted, within whatever limits."""
        return any(role in grant.roles for grant in self.grants)

    def may_everywhere(self, role: Role) -> bool:
        """Whether the role was granted without limits."""
        return any(role in grant.roles and grant.limits == NO_LIMITS for grant in self.grants)

    def fault(self, role: Role, record_id: str, meta: Words | None) -> tuple[str, str] | None:
        """Why the asker may not write or correct (`role`) a record with this id and this meta, or None.

        A field and a reason: those of the first grant of the role that could have allowed it.
        """
        first: tuple[str, str] | None = None
        for grant in self.grants:
            if role in grant.roles:
                fault = grant.limits.fault(record_id, meta)
                if fault is None:
                    return None
                first = first or fault
        return first or ("", f"{self.name} may not {role.value}")

    def may_tell_of(self, site: str | None, cluster: str | None) -> bool:
        """Whether the asker may send documents or samples of this site and cluster."""
        role = Role.WRITE_DOCUMENTS
        return any(role in grant.roles and grant.limits.cover_place(site, cluster) for grant in self.grants)

    @property
    def scope(self) -> Scope:
        """The records that the asker may see, for every question they ask. Without a right to read: none."""
        seen: list[tuple[Rule, ...]] = []
        for grant in self.grants:
            if Role.READ in grant.roles and grant.limits.prefixes is None:
                rules = grant.limits.rules
                if rules is None:
                    return Scope.everything()
                seen.extend(rules)
        return Scope(tuple(seen))


def limits_fault(roles: Iterable[Role], limits: Limits) -> str | None:
    """Why a grant of these roles within these limits makes no sense, or None."""
    if not (roles := set(roles)):
        return "no role is given"
    if limits.prefixes is not None and Role.READ in roles:
        return "prefixes of record ids limit writing only: make a grant of its own for reading"
    if Role.WRITE_DOCUMENTS in roles and (limits.prefixes is not None or limits.meta):
        return "documents have neither record ids nor meta: limit them by sites and clusters"
    parts = [limits.sites, limits.clusters, limits.prefixes, *limits.meta.values()]
    if any(part is not None and not all(part) for part in parts):
        return "an empty word limits nothing"
    if any(part == () for part in parts):
        return "a limit without values allows nothing"
    if limits != NO_LIMITS and (wide := roles & {Role.ADMINISTER, Role.MONITOR, Role.REPORT}):
        names = " and ".join(sorted(role.value for role in wide))
        return f"{names} cannot be limited: make a grant of its own for it"
    return None

from __future__ import annotations

import pytest

from jobmeter.model.access import Asker, Grant, Limits, Role, limits_fault
from jobmeter.model.question import Rule, Scope

A = ("A",)


def asker(*grants: Grant) -> Asker:
    return Asker("x", grants)


def grant(*roles: Role, **limits: object) -> Grant:
    return Grant(frozenset(roles), Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "record_id", "meta", "allowed"),
    [
        (Limits(), "r", None, True),
        (Limits(sites=A), "r", {"site_id": ("A",)}, True),
        (Limits(sites=A), "r", {"site": ("A",)}, True),
        (Limits(sites=A), "r", {"site": ("A",), "site_id": ("B",)}, False),
        (Limits(sites=A), "r", {"site_id": ("A", "B")}, False),
        (Limits(sites=A), "r", {"site_id": ()}, False),
        (Limits(sites=A), "r", {"user": ("A",)}, False),
        (Limits(sites=A), "r", None, False),
        (Limits(sites=("A", "B")), "r", {"site_id": ("B", "A")}, True),
        (Limits(clusters=A), "r", {"cluster": ("A",)}, True),
        (Limits(clusters=A), "r", {"site": ("A",)}, False),
        (Limits(prefixes=("s-", "t-")), "t-1", None, True),
        (Limits(prefixes=("s-", "t-")), "T-1", None, False),
        (Limits(sites=A, prefixes=("s-",)), "s-1", {"site": ("A",)}, True),
        (Limits(sites=A, prefixes=("s-",)), "t-1", {"site": ("A",)}, False),
        (Limits(meta={"vo": ("atlas", "cms")}), "r", {"vo": ("cms",)}, True),
        (Limits(meta={"vo": ("atlas", "cms")}), "r", {"vo": ("lhcb",)}, False),
    ],
)
def test_a_record_lies_within_limits_when_it_names_an_allowed_value_and_no_other(
    limits: Limits, record_id: str, meta: dict[str, tuple[str, ...]] | None, allowed: bool
) -> None:
    told = asker(Grant(frozenset({Role.WRITE}), limits)).fault(Role.WRITE, record_id, meta)
    assert (told is None) == allowed


def test_one_grant_of_several_is_enough_and_each_is_for_its_roles_only() -> None:
    one = asker(grant(Role.WRITE, sites=A), grant(Role.CORRECT, sites=("B",)), grant(Role.READ))
    assert one.fault(Role.WRITE, "r", {"site": A}) is None
    assert one.fault(Role.WRITE, "r", {"site": ("B",)}) is not None
    assert one.fault(Role.CORRECT, "r", {"site": ("B",)}) is None
    assert one.may(Role.READ)
    assert not one.may(Role.MONITOR)
    assert one.may_everywhere(Role.READ)
    assert not one.may_everywhere(Role.WRITE)


def test_without_a_right_to_read_nothing_is_seen() -> None:
    assert asker(grant(Role.WRITE), grant(Role.ADMINISTER)).scope == Scope(())
    assert not asker().scope.sees({"site": A})


def test_an_unlimited_grant_to_read_sees_everything() -> None:
    assert asker(grant(Role.READ, sites=A), grant(Role.READ)).scope == Scope.everything()
    assert Asker.anyone().scope.sees(None)


def test_two_allowed_sites_are_an_or_and_two_keys_an_and() -> None:
    scope = asker(grant(Role.READ, sites=("A", "B"), meta={"vo": ("atlas",)})).scope
    vo = Rule("vo", ("atlas",))
    assert scope == Scope(((Rule("site_id", ("A", "B")), vo), (Rule("site", ("A", "B")), vo)))
    assert scope.sees({"site_id": ("A",), "vo": ("atlas",)})
    assert scope.sees({"site": ("B",), "vo": ("cms", "atlas")})
    assert not scope.sees({"site": ("B",), "vo": ("cms",)})
    assert not scope.sees({"site": ("C",), "vo": ("atlas",)})
    assert not scope.sees({"vo": ("atlas",)})
    assert not scope.sees(None)


def test_documents_are_limited_by_the_place_that_they_tell_of() -> None:
    one = asker(grant(Role.WRITE_DOCUMENTS, sites=A), grant(Role.WRITE_DOCUMENTS, clusters=("c",)))
    assert one.may_tell_of("A", "d")
    assert one.may_tell_of(None, "c")
    assert not one.may_tell_of("B", "d")
    assert not one.may_tell_of(None, None)
    assert asker(grant(Role.WRITE_DOCUMENTS)).may_tell_of(None, None)
    assert not asker(grant(Role.WRITE)).may_tell_of("A", "c")


@pytest.mark.parametrize(
    ("roles", "limits", "fits"),
    [
        ({Role.WRITE}, Limits(prefixes=("a",)), True),
        ({Role.READ}, Limits(prefixes=("a",)), False),
        ({Role.WRITE_DOCUMENTS}, Limits(prefixes=("a",)), False),
        ({Role.ADMINISTER}, Limits(sites=A), False),
        ({Role.MONITOR}, Limits(), True),
        ({Role.MONITOR, Role.READ}, Limits(sites=A), False),
        ({Role.READ}, Limits(sites=()), False),
        ({Role.READ}, Limits(meta={"k": ()}), False),
        ({Role.READ}, Limits(sites=("",)), False),
        (set(), Limits(), False),
    ],
)
def test_a_grant_that_makes_no_sense_is_told(roles: set[Role], limits: Limits, fits: bool) -> None:
    assert (limits_fault(roles, limits) is None) == fits

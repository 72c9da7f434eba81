from __future__ import annotations

import pytest

from jobmeter.model.access import Role
from jobmeter.serve.access import CertificateGrant, asker_of_certificate
from jobmeter.serve.casbin import imported, model_faults, parse_policy
from jobmeter.serve.certificate import Certificate
from jobmeter.serve.policy import policy_of
from jobmeter.serve.rbac import DataRule, RbacConfig, grants_of
from jobmeter.serve.settings import ServeSettings

MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && r.act == p.act
"""
POLICY = """
p, monitoring_role, /metrics, GET
p, write_access_base, /record, POST
p, write_access_base, /record, PUT
p, write_access_base, /records, POST
p, write_access_base, /healthcheck, GET
p, read_access_base, /healthcheck, GET
p, read_access_base, /records, GET
p, read_access_base, /record/*, GET
g, collector, write_access_base
g, prometheus, monitoring_role
g, apel, read_access_base
g, boss, write_access_base
g, boss, read_access_base
"""


def grants(text: str) -> dict[str | None, set[str]]:
    found: dict[str | None, set[str]] = {}
    for grant in imported(parse_policy(text)).grants:
        found.setdefault(grant.common_name, set()).update(grant.roles)
    return found


def certificate(name: str) -> Certificate:
    return Certificate(f"CN={name}", f"/CN={name}", name)


def test_auditors_own_policy_becomes_roles() -> None:
    assert grants(POLICY) == {
        "collector": {"write"},
        "prometheus": {"monitor"},
        "apel": {"read"},
        "boss": {"read", "write"},
    }
    assert imported(parse_policy(POLICY)).faults == ()


def test_meta_lines_limit_what_is_read_with_an_or_and_nothing_else() -> None:
    text = POLICY + "p, meta, site_id, A\np, meta, site_id, B\n"
    everyone = imported(parse_policy(text)).grants
    scope = asker_of_certificate(certificate("boss"), everyone).scope
    assert scope.sees({"site_id": ("A",)})
    assert scope.sees({"site_id": ("B",)})
    assert not scope.sees({"site_id": ("C",)})
    assert asker_of_certificate(certificate("boss"), everyone).may_everywhere(Role.WRITE)


def test_roles_of_roles_and_paths_with_a_star_count() -> None:
    assert grants("p, all, /*, GET\ng, team, all\ng, ann, team\n") == {"ann": {"read", "monitor"}}
    assert grants("p, bob, /metrics, GET\n") == {"bob": {"monitor"}}
    assert grants("") == {}


def test_a_part_of_a_role_is_not_granted_and_told() -> None:
    told = imported(parse_policy("p, bob, /record, POST\np, bob, /records, GET\n"))
    assert told.grants == ()
    assert told.faults == (
        "bob may do a part of write only; nothing of it is granted",
        "bob may do a part of read only; nothing of it is granted",
    )


@pytest.mark.parametrize("line", ["q, a, b, c", "p, a, b", "g, a", "p, a, b, c, deny", "nonsense"])
def test_a_line_of_another_form_is_told(line: str) -> None:
    assert len(imported(parse_policy(f"# comment\n\n{line}\n")).faults) == 1


def test_the_model_must_be_auditors() -> None:
    assert model_faults(MODEL) == []
    assert model_faults(MODEL.replace("g(r.sub, p.sub) && ", "")) != []
    assert model_faults(MODEL.replace("keyMatch", "keyMatch2")) != []
    assert model_faults(MODEL.replace("sub, obj, act", "sub, dom, obj, act")) != []
    assert model_faults(MODEL.replace("some(where (p.eft == allow))", "!some(where (p.eft == deny))")) != []
    assert model_faults("") != []


def rbac(**changes: object) -> RbacConfig:
    return RbacConfig(**{"read_access_cn": ("apel", "site-a"), "write_access_cn": ("collector",), **changes})  # type: ignore[arg-type]


def test_the_rules_of_a_reader_are_its_own_and_no_list_widens_them() -> None:
    given = rbac(data_access_rules=(DataRule("site-a", {"site": ("A", "B"), "group": ("g",)}),))
    policy = policy_of(ServeSettings(rbac_config=given))
    assert policy.required
    limited = asker_of_certificate(certificate("site-a"), policy.certificates)
    assert limited.scope.sees({"site": ("B",), "group": ("g", "h")})
    assert not limited.scope.sees({"site": ("B",)})
    assert not limited.scope.sees({"site": ("C",), "group": ("g",)})
    assert asker_of_certificate(certificate("apel"), policy.certificates).scope.sees(None)
    assert asker_of_certificate(certificate("collector"), policy.certificates).may(Role.WRITE)
    assert asker_of_certificate(certificate("other"), policy.certificates).grants == ()


def test_base_policies_of_ones_own_are_kept_or_told() -> None:
    whole = (("read_access_base", "/records", "GET"), ("read_access_base", "/record/*", "GET"))
    more = (*whole, ("read_access_base", "/metrics", "GET"))
    assert grants_of(rbac(base_policies=more)).grants[0] == CertificateGrant(
        roles=("read", "monitor"), common_name="apel"
    )
    assert grants_of(rbac(base_policies=(("read_access_base", "/records"),))).faults != ()
    assert grants_of(rbac(base_policies=(*whole, ("mine", "/metrics", "GET")))).faults != ()


def test_with_the_rules_off_nothing_is_asked() -> None:
    assert not policy_of(ServeSettings(rbac_config=rbac(enforce_rbac=False))).asks

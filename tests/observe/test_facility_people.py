"""Who is told of, and by which name."""

from __future__ import annotations

import grp
import os
import pwd
from datetime import UTC, datetime

import pytest

from jobmeter.contract import SourceUnreadable
from jobmeter.model.document import Document
from jobmeter.observe.people.disguise import Rule, host_pseudonym, pseudonym
from jobmeter.observe.people.members import Members
from jobmeter.observe.people.shape import Shape

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("salt", "user", "sha256", "md5"),
    [
        ("", "brosser", "733160e9", "c4fff553"),
        ("", "alice", "2bd806c9", "a7a6563c"),
        ("5tKC%>f&%#hg", "brosser", "67833a37", "d05b6c23"),
        ("5tKC%>f&%#hg", "alice", "96d73261", "3afeeb59"),
        ("s3cret", "root", "2ba05e21", "850e7c18"),
        ("", "jürgen", "19b720a9", "77a86ed3"),
    ],
)
def test_pseudonyms_are_those_of_both_known_rules(salt: str, user: str, sha256: str, md5: str) -> None:
    assert pseudonym("sha256-first8", salt, b"")(user) == sha256
    assert pseudonym("md5-last8", salt, b"")(user) == md5


def test_a_keyed_pseudonym_depends_on_the_key_only() -> None:
    rule: Rule = "hmac-sha256"
    assert pseudonym(rule, "a", b"k")("alice") == pseudonym(rule, "b", b"k")("alice")
    assert pseudonym(rule, "", b"k")("alice") != pseudonym(rule, "", b"l")("alice")
    assert len(pseudonym(rule, "", b"k")("alice")) == 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("condor123.example.edu", "atlas123.bnl.gov"),
        ("login01.af.uchicago.edu", "atlas01.bnl.gov"),
        ("login1.t2.example.edu", "atlas12.bnl.gov"),
        ("ip-10-0-0-12.ec2.internal", "atlas1000122.bnl.gov"),
        ("gateway", "atlas.bnl.gov"),
    ],
)
def test_hosts_are_called_atlas_their_digits_and_the_domain(name: str, expected: str) -> None:
    assert host_pseudonym(name, "bnl.gov") == expected


def test_members_are_those_of_the_primary_group_and_unknown_users_are_none() -> None:
    own = pwd.getpwuid(os.geteuid())
    members = Members(grp.getgrgid(own.pw_gid).gr_name)
    assert own.pw_name in members
    assert "nobody-of-this-name" not in members
    assert "nul\0" not in members
    assert "nobody" not in members


def test_a_group_that_is_not_there_is_told() -> None:
    with pytest.raises(SourceUnreadable, match="no group"):
        Members("no-such-group")


def shaped(shape: Shape, kind: str, **body: object) -> dict[str, object] | None:
    document = shape.shaped(Document(kind, "", NOW, body))  # type: ignore[arg-type]
    return None if document is None else dict(document.body)


def test_a_list_of_users_is_cut_to_the_members_and_counted_anew() -> None:
    shape = Shape("UC-AF", members=frozenset({"alice"}), user=str.upper)
    found = shaped(shape, "ssh", login_node="n", ssh_user_count=3, users=["bob", "alice", "eve"])
    assert found == {"login_node": "n", "ssh_user_count": 1, "users": ["ALICE"]}


def test_a_job_of_somebody_else_is_left_out_whole() -> None:
    shape = Shape("UC-AF", members=frozenset({"alice"}))
    assert shaped(shape, "condorjob", users="bob", Id="1.0") is None
    assert shaped(shape, "condorjob", users="alice", Id="1.0") == {"users": "alice", "Id": "1.0"}
    assert shaped(shape, "condorqueue", queue="all", idle=1) == {"queue": "all", "idle": 1}


def test_hosts_are_renamed_also_where_a_mount_comes_from() -> None:
    shape = Shape("UC-AF", host=lambda name: host_pseudonym(name, "d"))
    found = shaped(shape, "DISK", login_node="login1.x", device="nfs7.x:/home", mount="/home")
    assert found == {"login_node": "atlas1.d", "device": "atlas7.d:/home", "mount": "/home"}
    assert shaped(shape, "DISK", login_node="login1.x", device="vda") == {"login_node": "atlas1.d", "device": "vda"}


def test_an_identity_tells_no_host() -> None:
    document = Shape("c").shaped(Document("condorjob", "", NOW, {}, "schedd.example.org#1.0#2"))
    assert document is not None
    assert document.identity is not None
    assert "example" not in document.identity

from __future__ import annotations

import pytest

from jobmeter.serve.archive_settings import ArchivalConfig
from jobmeter.serve.rbac import RbacConfig
from jobmeter.serve.settings import (
    Database,
    ServeSettings,
    TlsConfig,
    not_offered,
)

PART = (("write_access_base", "/record", "POST"),)


def test_a_database_by_auditors_keys_becomes_one_address_with_every_part_escaped() -> None:
    given = Database(host="db", port=5433, username="a b", password="p/@:", database_name="x?", require_ssl=True)
    assert given.url == "postgresql://a%20b:p%2F%40%3A@db:5433/x%3F?sslmode=require"
    assert Database(host="::1").url == "postgresql://postgres:password@[::1]:5432/auditor?sslmode=prefer"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (ServeSettings(rbac_config=RbacConfig(write_access_cn=("a",), base_policies=PART)), "rbac_config"),
        (ServeSettings(archival_config=ArchivalConfig(3, "/x")), "archival_config.cron_schedule is missing"),
    ],
)
def test_what_would_silently_be_missing_is_told(given: ServeSettings, key: str) -> None:
    [sentence] = not_offered(given)
    assert sentence.startswith(key)


def test_what_is_off_is_fine() -> None:
    given = ServeSettings(tls_config=TlsConfig(use_tls=False), rbac_config=RbacConfig(enforce_rbac=False))
    assert not_offered(given) == []

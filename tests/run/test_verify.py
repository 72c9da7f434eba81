from __future__ import annotations

import pytest
import sqlalchemy

from jobmeter.contract import RecordStore
from jobmeter.run.main import main
from tests.given import record


def test_a_rollup_that_is_not_what_the_records_add_up_to_is_found_and_mended(
    store: RecordStore, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put([record(str(number), meta={"site_id": ("A",)}, components=(("Cores", 2),)) for number in range(5)])
    while store.fold():
        pass
    assert main(["verify", "--database", database_url]) == 0
    assert "5 records add up" in capsys.readouterr().out
    _break(database_url)
    assert main(["verify", "--database", database_url]) == 1
    assert "2 sums are not what the records add up to" in capsys.readouterr().out
    assert main(["verify", "--rebuild", "--database", database_url]) == 0


def test_a_database_without_tables_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("none") / "none.sqlite"
    assert main(["verify", "--database", f"sqlite:///{path}"]) == 2


def _break(url: str) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE rollups SET n = n + 1"))
    engine.dispose()

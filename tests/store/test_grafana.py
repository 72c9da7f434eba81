"""The questions of the dashboard for PostgreSQL, asked of a real one that our store has filled."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from jobmeter.run.demo import generator as demo
from jobmeter.store.open import open_store

DASHBOARD = Path(__file__).parents[2] / "packaging/grafana/account-postgresql.json"
NOW = datetime(2026, 5, 13, tzinfo=UTC)


def test_every_panel_of_the_dashboard_has_an_answer(postgresql_url: str) -> None:
    store = open_store(postgresql_url, migrate=True)
    try:
        store.put([demo.record(job) for job in demo.jobs(NOW, days=5)])
    finally:
        store.close()
    ended = [job for job in demo.jobs(NOW, days=5) if job.stop is not None]
    answers = {}
    with psycopg.connect(postgresql_url) as connection:
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            sql = panel["targets"][0]["rawSql"].replace("$__unixEpochFrom()", "0")
            sql = sql.replace("$__unixEpochTo()", str(int(NOW.timestamp())))
            answers[panel["title"]] = connection.execute(sql.encode()).fetchall()
    assert sum(jobs for _, jobs in answers["Jobs that ended, by day"]) == len(ended)
    hours = sum((job.stop - job.start).total_seconds() / 3600 * job.cores for job in ended if job.stop is not None)
    assert abs(float(sum(value for _, value, _ in answers["Core-hours by site"])) - hours) < hours * 1e-6
    assert {site for site, _, _ in answers["Core-hours by site"]} == {each.site for each in demo.CLUSTERS}

"""The questions to an AUDITOR database, in each of its two schemas.

Both give the same columns: id, updated_at, record_id, meta, components, start_time, stop_time, all but the id as text,
the three in the middle as JSON. Until 0.6.1 AUDITOR had five tables with two link tables, without an index on the
links: so whole tables are joined by hashing, in one statement, and never row by row. Since 0.6.1 there is one table
with JSONB, without an index on `id`.

Times are read as text: it is exact to the microsecond on every version, and `infinity` or a year before Christ become
one bad row each instead of the end of the statement.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Columns(Struct, frozen=True):
    """The SQL of one schema. `{picked}` stands for the condition on rows of the main table, called `a`."""

    rows: str
    sums: str
    count: str


_TIMES = "a.start_time::text, a.stop_time::text"

_MONTH = """CASE WHEN a.stop_time IS NULL THEN 'running'
    WHEN isfinite(a.stop_time) THEN to_char(a.stop_time AT TIME ZONE 'UTC', 'YYYY-MM') ELSE a.stop_time::text END"""

_ROWS_JSONB = f"""SELECT a.id::bigint, a.updated_at::text, to_json(a.record_id)::text, a.meta::text,
    a.components::text, {_TIMES} FROM auditor_accounting a WHERE {{picked}}"""  # noqa: S608 - constants

_SUMS_JSONB = f"""SELECT month, site, count(*), coalesce(sum(n), 0)::bigint, coalesce(sum(amount), 0)::numeric FROM (
    SELECT {_MONTH} AS month, coalesce(a.meta->'site_id'->>0, a.meta->'site'->>0, '') AS site, l.n, l.amount
    FROM auditor_accounting a LEFT JOIN LATERAL (
        SELECT count(*) AS n,
            sum(CASE WHEN jsonb_typeof(c->'amount') = 'number' THEN (c->>'amount')::numeric END) AS amount
        FROM jsonb_array_elements(CASE WHEN jsonb_typeof(a.components) = 'array' THEN a.components ELSE '[]' END) c
    ) l ON true
    WHERE {{picked}}) x GROUP BY month, site"""  # noqa: S608

_ROWS_TABLES = f"""SELECT a.id::bigint, a.updated_at::text, to_json(a.record_id)::text, m.meta::text,
    c.components::text, {_TIMES}
    FROM accounting a
    LEFT JOIN (
        SELECT record_id, json_object_agg(key, listed) AS meta FROM (
            SELECT record_id, key, json_agg(value ORDER BY value COLLATE "C") AS listed FROM meta
            WHERE record_id IN (SELECT a.record_id FROM accounting a WHERE {{picked}}) GROUP BY record_id, key
        ) lists GROUP BY record_id
    ) m ON m.record_id = a.record_id
    LEFT JOIN (
        SELECT rc.record_id AS no, json_agg(
            json_build_object('name', c.name, 'amount', c.amount, 'scores', coalesce(s.scores, '[]')) ORDER BY c.id
        ) AS components
        FROM records_components rc
        JOIN components c ON c.id = rc.component_id
        LEFT JOIN (
            SELECT cs.component_id,
                json_agg(json_build_object('name', s.name, 'value', s.value) ORDER BY cs.id) AS scores
            FROM components_scores cs JOIN scores s ON s.id = cs.score_id GROUP BY cs.component_id
        ) s ON s.component_id = c.id
        WHERE rc.record_id IN (SELECT a.id FROM accounting a WHERE {{picked}}) GROUP BY rc.record_id
    ) c ON c.no = a.id
    WHERE {{picked}}"""  # noqa: S608

_SUMS_TABLES = f"""SELECT month, site, count(*), coalesce(sum(n), 0)::bigint, coalesce(sum(amount), 0)::numeric FROM (
    SELECT {_MONTH} AS month, coalesce(m.site, '') AS site, c.n, c.amount
    FROM accounting a
    LEFT JOIN (
        SELECT record_id, coalesce(min(value COLLATE "C") FILTER (WHERE key = 'site_id'),
            min(value COLLATE "C") FILTER (WHERE key = 'site')) AS site
        FROM meta WHERE key IN ('site_id', 'site') GROUP BY record_id
    ) m ON m.record_id = a.record_id
    LEFT JOIN (
        SELECT rc.record_id AS no, count(*) AS n, sum(c.amount) AS amount
        FROM records_components rc JOIN components c ON c.id = rc.component_id GROUP BY rc.record_id
    ) c ON c.no = a.id
    WHERE {{picked}}) x GROUP BY month, site"""  # noqa: S608


class Schema(Enum):
    """A generation of AUDITOR's tables, by its main table."""

    JSONB = "auditor_accounting"
    """One table, since 0.6.1."""
    TABLES = "accounting"
    """Five tables and two that link them, before 0.6.1."""

    @property
    def columns(self) -> Columns:
        """The SQL for this schema."""
        if self is Schema.JSONB:
            return Columns(_ROWS_JSONB, _SUMS_JSONB, "SELECT count(*) FROM auditor_accounting")
        return Columns(_ROWS_TABLES, _SUMS_TABLES, "SELECT count(*) FROM accounting")


NEWER = "(a.id > %(after)s OR a.updated_at > %(since)s::timestamptz)"
"""Rows that came or changed: behind an id, or changed after a moment."""

AMONG = "a.id = ANY(%(ids)s)"
"""Rows by their ids."""

EVERY = "true"

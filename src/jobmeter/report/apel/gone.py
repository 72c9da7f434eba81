"""Rows that the receiver holds of a month and that the account no longer makes: they are sent once more, without jobs.

The receiver replaces rows by their keys and forgets none. A job that was corrected from one VO to another would count
under both, if its old row were not emptied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from jobmeter.report.apel.message import Form, benchmarked, block
from jobmeter.report.apel.receiver import Value, alike, fitted

_MONTH = ("Site", "Month", "Year")
_ROW = (
    *_MONTH, "GlobalUserName", "VO", "VOGroup", "VORole", "SubmitHost", "Infrastructure", "NodeCount", "Processors",
)  # fmt: skip
_KEYS = {Form.SYNC: (*_MONTH, "SubmitHost"), Form.SUMMARY: _ROW, Form.OLD_SUMMARY: _ROW}
_NORMALISED = ("NormalisedWallDuration", "NormalisedCpuDuration")


def emptied(form: Form, blocks: Iterable[str], published: Iterable[str]) -> list[str]:
    """A block without jobs for each row of the texts `published` that none of `blocks` replaces.

    Texts of another form are left alone, and so are blocks of single jobs, which cannot be taken back.
    """
    if form not in _KEYS:
        return []
    rows = {_key(form, fields): fields for text in published for fields in _rows(form, text)}
    there = {_key(form, _fields(each)) for each in blocks} if rows else set()
    return sorted(_empty(form, fields) for key, fields in rows.items() if key not in there)


def has_jobs(form: Form, published: Iterable[str]) -> bool:
    """Whether some row of the texts has jobs; those of single jobs are no rows that could be emptied."""
    return form in _KEYS and any(
        fields.get("NumberOfJobs") != "0" for text in published for fields in _rows(form, text)
    )


def _rows(form: Form, text: str) -> Iterator[Mapping[str, str]]:
    header, _, rest = text.partition("\n")
    if header == form.header:
        yield from (_fields(each) for each in rest.split("%%\n") if each)


def _fields(block_text: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in block_text.splitlines())
    return {name: value for name, colon, value in lines if colon}


def _key(form: Form, fields: Mapping[str, str]) -> tuple[Value, ...]:
    # As wide as it would be written now: what was published once may have been wider than the receiver takes.
    return (*(alike(fitted(name, fields.get(name))) for name in _KEYS[form]), _benchmark(fields))


def _benchmark(fields: Mapping[str, str]) -> str | None:
    name, colon, _ = fields.get(_NORMALISED[0], "").partition(":")
    return name.removeprefix("{") if colon else None


def _empty(form: Form, fields: Mapping[str, str]) -> str:
    kept = (*_KEYS[form], "InfrastructureDescription")
    values: dict[str, Value] = {name: fields[name] for name in kept if name in fields}
    values["NumberOfJobs"] = 0
    if form is not Form.SYNC:
        benchmark = _benchmark(fields)
        values |= {"WallDuration": 0, "CpuDuration": 0}
        values |= {name: 0 if benchmark is None else benchmarked(benchmark, 0) for name in _NORMALISED}
    return block(form, values)

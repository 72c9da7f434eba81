"""Asking sacct: its arguments, its environment, and which of its two forms is asked for."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from jobmeter.contract import Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm import json_form, text_form
from jobmeter.observe.slurm.columns import FIRST, LAST, wanted
from jobmeter.observe.slurm.job import Run
from jobmeter.observe.slurm.json_form import NoDocument
from jobmeter.observe.slurm.row import Row
from jobmeter.observe.slurm.settings import Settings
from jobmeter.observe.slurm.states import ENDED_STATES, abbreviation, base_state, canonical_state
from jobmeter.observe.slurm.values import ABSENT, moment

Form = Literal["json", "text"]

JSON_SINCE = (22, 5)
"""The first release whose JSON the catalogue of `json_form` was compared with."""

_DEFAULT = "/usr/bin/sacct"
_VERSION = re.compile(r"slurm\S*\s+(\d+)\.(\d+)")
_NOT_PASSED_ON = frozenset(
    {"SACCT_FORMAT", "SLURM_BITSTR_LEN", "SLURM_TIME_FORMAT", "SLURM_CLUSTERS", "TZ", "LANG", "LANGUAGE"}
)
_RUN_COLUMNS = (FIRST, "JobID", "Submit", "Start", "End", LAST)
_IDS_AT_ONCE = 1000

log = logging.getLogger("jobmeter.observe")


class Sacct:
    """The accounting of a Slurm cluster, as its command line tool gives it.

    Methods raise SourceUnreadable when sacct does not answer, and OutputTooLarge when it answers too much.
    """

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._columns = wanted(settings)
        self._said = ""

    def ended(self, period: Period) -> list[Row | Refused]:
        """The rows of the jobs that ended in `period` and of their steps; a little more may be among them."""
        path = self._path()
        form, reason = self._form(path)
        if form == "json":
            try:
                rows = self._ended_json(path, period)
            except (NoDocument, CommandFailed) as fault:
                if self._settings.sacct_format == "json":
                    raise SourceUnreadable(str(fault)) from None
                form, reason = "text", str(fault)
            else:
                self._say(form, reason)
                return rows
        self._say(form, reason)
        return list(self._table(path, self._columns, self._selection(period)))

    def runs(self, raw_jobs: Sequence[str]) -> Iterator[Run]:
        """All runs that Slurm knows of the jobs with these numbers."""
        path = self._path()
        for at in range(0, len(raw_jobs), _IDS_AT_ONCE):
            chosen = ["-X", "-j", ",".join(raw_jobs[at : at + _IDS_AT_ONCE])]
            for row in self._table(path, _RUN_COLUMNS, chosen):
                if isinstance(row, Row) and (run := _run(row)) is not None:
                    yield run

    def _ended_json(self, path: str, period: Period) -> list[Row | Refused]:
        output = self._answer([path, *self._common(), *self._selection(period), "--json"])
        return list(json_form.parse(output, self._columns))

    def _table(self, path: str, columns: Sequence[str], selection: Sequence[str]) -> Iterator[Row | Refused]:
        delimiter = text_form.new_delimiter()
        shape = ["--noheader", "-P", "--noconvert", f"--delimiter={delimiter}", "--format", ",".join(columns)]
        try:
            output = self._answer([path, *self._common(), *selection, *shape])
        except CommandFailed as fault:
            raise SourceUnreadable(str(fault)) from None
        return text_form.parse(output, columns, delimiter)

    def _common(self) -> list[str]:
        # -D: all runs of a job, not only its last.
        return ["-a", "-D", *([] if self._settings.cluster is None else ["-M", self._settings.cluster])]

    def _selection(self, period: Period) -> list[str]:
        chosen = self._settings.job_filter
        states = {state for name in chosen.status if (state := canonical_state(name)) is not None} or ENDED_STATES
        selection = ["-S", _wall(period.start), "-E", _wall(period.stop)]
        selection += ["-s", ",".join(sorted(abbreviation(state) for state in states))]
        lists = {"-r": chosen.partition, "-u": chosen.user, "-g": chosen.group, "-A": chosen.account}
        for flag, names in lists.items():
            if names:
                selection += [flag, ",".join(names)]
        return selection

    def _answer(self, argv: Sequence[str]) -> str:
        try:
            output = self._host.run(
                argv,
                environment=_environment(self._host.environment),
                timeout_seconds=self._settings.sacct_timeout_seconds,
                output_max_bytes=self._settings.sacct_output_bytes,
            )
        except (CommandMissing, CommandTimedOut) as fault:
            raise SourceUnreadable(str(fault)) from None
        if output.replaced:
            log.debug("slurm.not_utf8 bytes=%d", output.replaced)
        return output.text

    def _path(self) -> str:
        if self._settings.sacct_path is not None:
            return self._settings.sacct_path
        if self._host.path(_DEFAULT).is_file():
            return _DEFAULT
        found = shutil.which("sacct", path=self._host.environment.get("PATH"))
        if found is None:
            raise SourceUnreadable(f"there is no sacct, neither {_DEFAULT} nor in PATH")
        return found

    def _form(self, path: str) -> tuple[Form, str]:
        """Which form to ask for, and why."""
        asked = self._settings.sacct_format
        names = self._settings.rules.columns()
        missing = json_form.underivable(self._columns) or tuple(name for name in names if name.lower() == "state")
        if asked == "text":
            return "text", "the settings say so"
        if missing:
            if asked == "json":
                raise SourceUnreadable(f"sacct_format is json, and JSON does not give {', '.join(missing)}")
            return "text", f"JSON does not give {', '.join(missing)}"
        if asked == "json":
            return "json", "the settings say so"
        version = self._version(path)
        if version < JSON_SINCE:
            return "text", f"the JSON of Slurm {version[0]}.{version[1]:02} is too old"
        return "json", f"Slurm {version[0]}.{version[1]:02} has it, and every column stands in it"

    def _version(self, path: str) -> tuple[int, int]:
        try:
            printed = self._answer([path, "--version"])
        except CommandFailed as fault:
            raise SourceUnreadable(str(fault)) from None
        match = _VERSION.search(printed)
        return (0, 0) if match is None else (int(match[1]), int(match[2]))

    def _say(self, form: Form, reason: str) -> None:
        if (said := f"form={form} reason={reason!r}") != self._said:
            self._said = said
            log.info("slurm.reading %s", said)


def _run(row: Row) -> Run | None:
    def at(column: str) -> datetime | None:
        text = row.values[column]
        return None if text in ABSENT else moment(text)

    try:
        submit, start, end = at("submit"), at("start"), at("end")
    except Unreadable:
        return None
    return None if submit is None else Run(row.raw_job, submit, start, end, base_state(row.values["state"]))


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """What sacct is given: the collector's own environment, with everything that changes its output fixed.

    In UTC there is no hour that comes twice or not at all.
    """
    kept = {name: value for name, value in given.items() if name not in _NOT_PASSED_ON and not name.startswith("LC_")}
    return {**kept, "TZ": "UTC", "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}


def _wall(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")

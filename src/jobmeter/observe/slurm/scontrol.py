"""Asking scontrol for one job: its arguments, its environment, and which of its two forms is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm import scontrol_json, scontrol_text
from jobmeter.observe.slurm.scontrol_json import NoDocument
from jobmeter.observe.slurm.scontrol_settings import CONTEXT_VARIABLE, END_VARIABLE, Settings

_DEFAULT = "/usr/bin/scontrol"
_NOT_PASSED_ON = frozenset({"SLURM_BITSTR_LEN", "SLURM_TIME_FORMAT", "SLURM_CLUSTERS", "TZ", "LANG", "LANGUAGE"})
_OUTPUT_MAX_BYTES = 16 * 2**20

log = logging.getLogger("jobmeter.observe")


class NotReadable(Exception):  # noqa: N818 - the name says the fact
    """scontrol answered, and what it said of the job cannot be relied on; `raw` is what it said."""

    def __init__(self, reason: str, raw: str) -> None:
        super().__init__(reason)
        self.raw = raw


class Scontrol:
    """The jobs that slurmctld remembers, by its command line tool."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def job(self, job: int) -> dict[str, str]:
        """The values of one job, under the names of the text form.

        Raises SourceUnreadable when scontrol does not answer or does not know the job, and NotReadable.
        """
        path = self._path()
        if self._asks_for_json():
            try:
                return self._by_json(path, job)
            except (NoDocument, CommandFailed) as fault:
                if self._settings.scontrol_format == "json":
                    raise SourceUnreadable(str(fault)) from None
                log.debug("scontrol.no_json reason=%r", str(fault))
        return self._by_text(path, job)

    def _by_json(self, path: str, job: int) -> dict[str, str]:
        printed = self._answer(path, "--details", "show", "job", str(job), "--json")
        try:
            return scontrol_json.parse(printed, job)
        except Unreadable as fault:
            raise NotReadable(str(fault), printed) from None

    def _by_text(self, path: str, job: int) -> dict[str, str]:
        try:
            printed = self._answer(path, "--details", "show", "job", self._shown_as(job))
        except CommandFailed as fault:
            raise SourceUnreadable(str(fault)) from None
        try:
            return scontrol_text.parse(printed, job, self._host.environment.get("SLURM_JOB_NAME"))
        except Unreadable as fault:
            raise NotReadable(str(fault), printed) from None

    def _shown_as(self, job: int) -> str:
        """What to ask for to be shown this job alone: the number of an array or set shows all that belong to it."""
        together = {
            "SLURM_ARRAY_JOB_ID": ("_", "SLURM_ARRAY_TASK_ID"),
            "SLURM_HET_JOB_ID": ("+", "SLURM_HET_JOB_OFFSET"),
        }
        for first, (sign, second) in together.items():
            parts = (self._host.environment.get(first, ""), self._host.environment.get(second, ""))
            if all(part.isascii() and part.isdigit() for part in parts):
                return sign.join(parts)
        return str(job)

    def _asks_for_json(self) -> bool:
        if self._settings.scontrol_format == "auto":
            # A slurmctld that tells the epilog when the job ended is of a release whose scontrol has JSON; asking an
            # older one in vain would cost every job a process. Outside of an epilog nothing is told.
            new = END_VARIABLE in self._host.environment or CONTEXT_VARIABLE not in self._host.environment
            return new and all(scontrol_json.given(key) for key in configured(self._settings))
        return self._settings.scontrol_format == "json"

    def _answer(self, path: str, *words: str) -> str:
        try:
            output = self._host.run(
                [path, *words],
                environment=_environment(self._host.environment),
                timeout_seconds=self._settings.scontrol_timeout_seconds,
                output_max_bytes=_OUTPUT_MAX_BYTES,
            )
        except (CommandMissing, CommandTimedOut, OutputTooLarge) as fault:
            raise SourceUnreadable(str(fault)) from None
        return output.text

    def _path(self) -> str:
        if self._settings.scontrol_path is not None:
            return self._settings.scontrol_path
        if self._host.path(_DEFAULT).is_file():
            return _DEFAULT
        import shutil  # noqa: PLC0415 - costs 2 ms, and scontrol is mostly where it is expected

        found = shutil.which("scontrol", path=self._host.environment.get("PATH"))
        if found is None:
            raise SourceUnreadable(f"there is no scontrol, neither {_DEFAULT} nor in PATH")
        return found


def configured(settings: Settings) -> Iterator[str]:
    """The names of values that the configuration mentions, also more than once."""
    for component in settings.components:
        yield component.key
        conditions = [component.only_if, *(score.only_if for score in component.scores)]
        yield from (condition.key for condition in conditions if condition is not None)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The epilog's own environment, with everything that changes the output fixed. UTC has no hour that comes twice."""
    kept = {name: value for name, value in given.items() if name not in _NOT_PASSED_ON and not name.startswith("LC_")}
    return {**kept, "TZ": "UTC", "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}

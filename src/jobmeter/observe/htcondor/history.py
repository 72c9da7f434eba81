"""Asking condor_history: its arguments, and which of its two forms is asked for."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime

from jobmeter.contract import Refused, SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host
from jobmeter.observe.htcondor import json_form, values_form
from jobmeter.observe.htcondor.job import ALWAYS, Job, folded, is_attribute
from jobmeter.observe.htcondor.json_form import Broken, NotLiteral
from jobmeter.observe.htcondor.settings import Settings, keys_of

log = logging.getLogger("jobmeter.observe")


class History:
    """The history of a pool's schedds, or a history file, as HTCondor's command line tool gives it."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        known = {folded(name): name for name in ALWAYS}
        known.update((folded(key), key) for key in keys_of(settings) if folded(key) not in known)
        self._keys = tuple(known.values())
        self._expressions = tuple(key for key in self._keys if not is_attribute(key))
        self._values_wanted = self._first_form()

    @property
    def names(self) -> tuple[str, ...]:
        """What is read, each with a place of its own: the schedds, or the one file."""
        file = self._settings.history_file
        return self._settings.schedd_names if file is None else (file,)

    def entries(self, name: str, until: str | None, since: datetime | None = None) -> Iterator[Job | Refused]:
        """The entries of one history, newest first: down to the one for which `until` holds, which is left out.

        With `since`, entries that ended before may be left out. Raises SourceUnreadable, after the entries that could
        be read, and NotLiteral when the form was changed: the same has to be asked for again from the beginning.
        """
        argv = [self._settings.condor_history_path, "-backwards", *self._selection(name, until, since)]
        try:
            if self._values_wanted:
                yield from self._evaluated(argv)
            else:
                yield from self._literal(argv)
        except (CommandFailed, CommandMissing, CommandTimedOut, Broken) as fault:
            raise SourceUnreadable(f"the history of {name}: {fault}") from None
        except NotLiteral as attribute:
            if self._settings.history_format == "json":
                raise SourceUnreadable(f"history_format is json, and {attribute} holds an expression") from None
            self._values_wanted = True
            log.info("htcondor.reading form=values reason=%r", f"{attribute} holds an expression")
            raise

    def _first_form(self) -> bool:
        asked = self._settings.history_format
        if self._expressions and asked == "json":
            log.warning("htcondor.not_in_json keys=%r", ", ".join(self._expressions))
        reason = "the settings say so" if asked != "auto" else f"expressions: {', '.join(self._expressions) or 'none'}"
        wanted = asked == "values" or (asked == "auto" and bool(self._expressions))
        log.info("htcondor.reading form=%s reason=%r", "values" if wanted else "json", reason)
        return wanted

    def _literal(self, argv: list[str]) -> Iterator[Job | Refused]:
        attributes = [key for key in self._keys if is_attribute(key)]
        with closing(self._printed([*argv, "-json", "-attributes", ",".join(attributes)])) as chunks:
            yield from json_form.parse(chunks, frozenset(map(folded, attributes)))

    def _evaluated(self, argv: list[str]) -> Iterator[Job | Refused]:
        frame = values_form.new_frame()
        with closing(self._printed([*argv, "-af:V", *values_form.arguments(self._keys, frame)])) as chunks:
            yield from values_form.parse(chunks, self._keys, frame)

    def _selection(self, name: str, until: str | None, since: datetime | None) -> list[str]:
        settings = self._settings
        chosen = ["-file", name] if settings.history_file is not None else ["-name", name]
        if settings.pool is not None and settings.history_file is None:
            chosen += ["-pool", settings.pool]
        if until is not None:
            chosen += ["-since", until]
        if settings.job_status:
            chosen += ["-constraint", " || ".join(f"JobStatus == {status}" for status in settings.job_status)]
        if settings.expression is not None:
            chosen += ["-constraint", settings.expression]
        if since is not None:
            # One of the three is the end. What is undefined does not disturb the others.
            ends = ("CompletionDate", "EpochWriteDate", "EnteredCurrentStatus")
            chosen += ["-constraint", " || ".join(f"{end} >= {int(since.timestamp())}" for end in ends)]
        return chosen

    def _printed(self, argv: list[str]) -> Generator[bytes, None, None]:
        told: list[str] = []
        yield from self._host.stream(
            argv,
            environment={**self._host.environment, "LC_ALL": "C.UTF-8"},
            timeout_seconds=self._settings.history_timeout_seconds,
            told=told,
        )
        for text in told:
            log.warning("htcondor.told text=%r", text[-500:])

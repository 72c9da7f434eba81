"""Asking oarstat: by time of end, by OAR's own words for it, and never trusting half an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobmeter.contract import Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host
from jobmeter.observe.oar import oarstat_form
from jobmeter.observe.oar.job import Job
from jobmeter.observe.oar.oarstat_form import NoDocument
from jobmeter.observe.oar.settings import Settings
from jobmeter.observe.oar.where import ended_in


class Oarstat:
    """The accounting of an OAR 2 cluster, as its command line tools give it.

    Raises SourceUnreadable when they do not answer in full, and OutputTooLarge when they answer too much.
    """

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def ended(self, period: Period) -> list[Job | Refused]:
        """The jobs that ended in `period`, and those that were given up without having begun."""
        # --sql is the one selection of oarstat that is not limited to jobs that have not ended.
        jobs = self._answer([self._settings.oarstat_path, "-J", "-f", "--sql", ended_in(period)])
        if not jobs.strip():
            return []
        nodes = self._answer([self._settings.oarnodes_path, "-J"])
        try:
            resources = oarstat_form.parse_resources(nodes, self._settings.core_property)
            return list(oarstat_form.parse(jobs, resources))
        except NoDocument as fault:
            raise SourceUnreadable(str(fault)) from None

    def _answer(self, argv: Sequence[str]) -> str:
        try:
            output = self._host.run(
                argv,
                environment=_environment(self._host.environment),
                timeout_seconds=self._settings.timeout_seconds,
                output_max_bytes=self._settings.output_bytes,
                encoding="latin-1",
            )
        except (CommandMissing, CommandFailed, CommandTimedOut) as fault:
            raise SourceUnreadable(str(fault)) from None
        # When the database fails, in the middle too, OAR 2.5 says so here only: it ends with status 0.
        if output.stderr.strip() and self._settings.warnings == "refuse":
            raise SourceUnreadable(f"{argv[0]} gave its answer with a warning: {output.stderr.strip()[:500]}")
        return output.text


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """The collector's own environment without what changes how Perl writes."""
    kept = {name: value for name, value in given.items() if not name.startswith(("LC_", "LANG", "PERL", "OAR"))}
    return {**kept, "LC_ALL": "C"}

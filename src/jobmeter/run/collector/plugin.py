"""What the collect command asks of the module of a job source, and of its settings."""

from __future__ import annotations

from typing import Protocol

from jobmeter.contract import JobSource
from jobmeter.observe.host import Host
from jobmeter.settings.deployment import Deployment


class Deployed(Protocol):
    """Settings of a job source that say what the command around it needs to know."""

    @property
    def deployment(self) -> Deployment:
        """The road from the source to the server."""
        ...


class Plugin(Protocol):
    """The module of a job source.

    It may offer options of its own on the command line: `declare(parser)`, and `adjusted(settings, arguments)`, which
    gives the settings with what was given by them instead.
    """

    Settings: type

    def open_source(self, settings: Deployed, host: Host) -> JobSource:
        """The source on this host."""
        ...

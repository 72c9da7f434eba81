"""Where a node looks for jobs."""

from __future__ import annotations

import argparse

from jobmeter.observe.jobs.profile import KNOWN, Profile, built_in, rooted
from jobmeter.run.agent.flags import root_profiles
from jobmeter.settings.agent import NodeSettings
from jobmeter.settings.fault import Fault, SettingsFaulty


def profiles(settings: NodeSettings, arguments: argparse.Namespace) -> list[Profile]:
    """The layouts of batch systems that settings and options ask for. Raises SettingsFaulty."""
    if arguments.cpuset_rootpath:
        return root_profiles(arguments, settings.jobs.cluster)
    refuse_unknown(settings, str(arguments.config))
    folders = [rooted(each.path, (each.pattern,), each.manager, settings.jobs.cluster) for each in settings.jobs.folder]
    return [*folders, *(built_in(name, settings.jobs.cluster) for name in settings.jobs.managers)]


def refuse_unknown(settings: NodeSettings, file: str) -> None:
    """Raises SettingsFaulty when there is no layout for a batch system of the settings."""
    unknown = [name for name in settings.jobs.managers if name not in KNOWN]
    if unknown:
        reason = f"there is no layout for {unknown[0]!r}; there is: {', '.join(KNOWN)}"
        raise SettingsFaulty([Fault(file, "jobs.managers", reason)])

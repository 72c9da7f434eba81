"""Sessions by the text of `who`, `last` and `loginctl`."""

from __future__ import annotations

from collections.abc import Sequence

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge

NO_PEOPLE = frozenset({"reboot", "shutdown", "runlevel", "wtmp", "wtmpdb", "btmp"})
"""What `last` prints in the place of a user, and the first word of its last line."""

_SERVICES_OF_NOBODY = frozenset({"cron", "crond", "atd", "su", "su-l", "sudo", "sudo-i", "runuser", "runuser-l"})
"""PAM services whose sessions are jobs, or a second session of somebody who is there already."""

_OUTPUT_MAX_BYTES = 2**24


class NoCommand(SourceUnreadable):
    """The command is not installed here."""


def who(host: Host, timeout_seconds: float) -> list[str]:
    """Users that `who` prints, in its order. Raises SourceUnreadable."""
    return first_words(_run(host, ["who"], timeout_seconds).splitlines())


def last(host: Host, minutes: int, timeout_seconds: float) -> list[str]:
    """Users who logged in within the last minutes by `last`, without reboots. Raises SourceUnreadable."""
    lines = _run(host, _last(minutes), timeout_seconds).splitlines()
    return [user for user in first_words(lines) if user not in NO_PEOPLE]


def last_as_it_was(host: Host, minutes: int, timeout_seconds: float) -> list[str]:
    """All that the superseded program takes from `last`: every first word but for those of the last two lines."""
    return first_words(_run(host, _last(minutes), timeout_seconds).splitlines()[:-2])


def logind(host: Host, timeout_seconds: float) -> list[str]:
    """Users with a session of a person by logind. Raises SourceUnreadable."""
    listed = _run(host, ["loginctl", "list-sessions", "--no-legend", "--no-pager"], timeout_seconds)
    sessions = first_words(listed.splitlines())
    if not sessions:
        return []
    wanted = [f"--property={name}" for name in ("Name", "Class", "Service", "State")]
    shown = _run(host, ["loginctl", "show-session", "--no-pager", *wanted, *sessions], timeout_seconds)
    return people(shown)


def people(shown: str) -> list[str]:
    """The users in what `loginctl show-session` prints: blocks of KEY=VALUE lines, a blank line between."""
    users = []
    for block in shown.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        counts = (
            values.get("Class", "user").startswith("user")
            and values.get("State") != "closing"
            and values.get("Service") not in _SERVICES_OF_NOBODY
        )
        if counts and values.get("Name"):
            users.append(values["Name"])
    return list(dict.fromkeys(users))


def first_words(lines: Sequence[str]) -> list[str]:
    """The first word of each line that has one, each once, in order."""
    return list(dict.fromkeys(line.split(maxsplit=1)[0] for line in lines if line.strip()))


def _last(minutes: int) -> list[str]:
    return ["last", "-w", "-s", f"-{minutes}min"]


def _run(host: Host, argv: list[str], timeout_seconds: float) -> str:
    environment = {**host.environment, "LC_ALL": "C.UTF-8"}
    try:
        output = host.run(
            argv, environment=environment, timeout_seconds=timeout_seconds, output_max_bytes=_OUTPUT_MAX_BYTES
        )
    except CommandMissing as fault:
        raise NoCommand(str(fault)) from None
    except (CommandFailed, CommandTimedOut, OutputTooLarge) as fault:
        raise SourceUnreadable(str(fault)) from None
    return output.text

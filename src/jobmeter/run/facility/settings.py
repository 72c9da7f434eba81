"""The settings of `jobmeter facility`, but for those of its sections, which are tables of the same file.

Each section's own settings stand under its name (`[ssh]`, `[batch]`); `file_struct` puts all together for a check, a
sample and the reference. A run binds the tables of the sections that it runs, and imports no other.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from jobmeter import registry
from jobmeter.observe.people.disguise import Rule
from jobmeter.settings.fault import WrongValue
from jobmeter.sinks.documents import Settings as Send

KIND = "observe.facility"
ORDER = ("jupyter", "ssh", "host", "batch")
"""In which order the sections of our own run, as they always did; those of other packages follow."""


class Spool(Struct, frozen=True, forbid_unknown_fields=True):
    """Where documents wait until the endpoint has them."""

    path: Annotated[
        str | None,
        Meta(description="The file; default: facility.spool in /var/lib/jobmeter, or in a folder of the user."),
    ] = None
    max_bytes: Annotated[int, Meta(ge=1, description="How many bytes of documents may wait.")] = 2**30
    when_full: Annotated[
        Literal["drop_oldest", "wait"], Meta(description="At the bound: lose the oldest and count, or observe no more.")
    ] = "drop_oldest"
    max_age_days: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="Drop and count what waited longer.")
    ] = None


class FacilitySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is observed, for which cluster, and where documents go."""

    environment_prefix: ClassVar[str] = "JOBMETER_FACILITY"

    sections: Annotated[
        tuple[str, ...], Meta(description="What is observed: jupyter (-j), ssh (-s), host (--host), batch (-b).")
    ] = ()
    cluster: Annotated[str, Meta(description="The cluster of every document (-c).")] = "UC-AF"
    group: Annotated[str | None, Meta(description="Only users of this Unix group are told of (-g).")] = None
    obfuscate_users: Annotated[bool, Meta(description="Whether users have pseudonyms (-o).")] = False
    user_hash: Annotated[Rule, Meta(description="How a user's pseudonym is made.")] = "md5-last8"
    salt: Annotated[str, Meta(description="Put before the name (-z); not for hmac.", extra={"secret": True})] = ""
    hmac_key_file: Annotated[str | None, Meta(description="The key of hmac-sha256, the same on all hosts.")] = None
    obfuscate_hosts: Annotated[
        str | None, Meta(description="Hosts are called atlas, their digits, and this domain (-O).")
    ] = None
    every_seconds: Annotated[
        Annotated[float, Meta(ge=1)] | None, Meta(description="Go on, and observe so often (--every).")
    ] = None
    deliver_seconds: Annotated[
        float, Meta(ge=0, description="How long a run tries to deliver; the rest waits for the next.")
    ] = 60
    within_seconds: Annotated[float, Meta(gt=0, description="A run ends within this time, whatever happens.")] = 240
    log_level: Annotated[
        Literal["trace", "debug", "info", "warn", "error", "off"], Meta(description="Events to log.")
    ] = "info"
    send: Annotated[Send, Meta(description="The endpoint.")] = Send()
    spool: Annotated[Spool, Meta(description="What waits.")] = Spool()

    def __post_init__(self) -> None:
        if self.user_hash == "hmac-sha256" and self.obfuscate_users and self.hmac_key_file is None:
            raise WrongValue("hmac_key_file", "is missing, and user_hash is hmac-sha256")
        known = registry.names(KIND) if set(self.sections) - set(ORDER) else ORDER
        for name in self.sections:
            if name not in known:
                raise WrongValue("sections", f"there is no section {name!r}; there is: {', '.join(known)}")


def ordered(sections: tuple[str, ...]) -> list[str]:
    """The sections in the order in which they run, each once."""
    own = [name for name in ORDER if name in sections]
    return [*own, *(name for name in dict.fromkeys(sections) if name not in ORDER)]


def spool_file(settings: FacilitySettings) -> Path:
    """Where the spool is: as set, in the folder of the service, or the first place that this user may write to.

    Raises OSError when there is none.
    """
    if settings.spool.path is not None:
        return Path(settings.spool.path)
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.partition(":")[0]) / "facility.spool"
    if os.geteuid() == 0:
        return Path("/var/lib/jobmeter/facility.spool")
    for folder in _own_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        # Another user could have made a folder of this name in a place that is open to all.
        if folder.is_dir() and not folder.is_symlink() and found.st_uid == os.geteuid() and os.access(folder, os.W_OK):
            return folder / "facility.spool"
    raise OSError("there is no folder where documents could wait; set spool.path")


def _own_folders() -> list[Path]:
    state, home = os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", "")
    found = [Path(state)] if state.startswith("/") else []
    if home.startswith("/"):
        found.append(Path(home) / ".local" / "state")
    return [*(folder / "jobmeter" for folder in found), Path(f"/var/tmp/jobmeter-{os.geteuid()}")]  # noqa: S108 - see there


def __getattr__(name: str) -> Any:
    """`FacilityFile`: all settings with those of every section, made when it is asked for."""
    if name != "FacilityFile":
        raise AttributeError(name)
    return file_struct()


def file_struct() -> type[Struct]:
    """The Struct of a whole file."""
    fields: list[tuple[str, Any, Any]] = []
    for section in registry.names(KIND):
        settings: Any = registry.module(KIND, section).Settings
        described = Annotated[settings, Meta(description=f"The section {section}.")]
        fields.append((section.replace("-", "_"), described, msgspec.field(default_factory=settings)))
    struct = msgspec.defstruct(
        "FacilityFile", fields, bases=(FacilitySettings,), frozen=True, module=__name__, forbid_unknown_fields=True
    )
    struct.__doc__ = FacilitySettings.__doc__
    return struct

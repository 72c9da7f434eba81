"""How a node gets its samples to a gatherer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.settings.fault import WrongValue

_ADDRESS = re.compile(r"tcp://\S+:(\d{1,5}|\*)|ipc://\S+", re.ASCII)


def address_fault(address: str) -> str | None:
    """Why ZeroMQ could make nothing of an address, or None."""
    return None if _ADDRESS.fullmatch(address) else f"{address!r} is not tcp://HOST:PORT"


class Curve(Struct, frozen=True, forbid_unknown_fields=True):
    """Encryption, and knowing each other, by CURVE. `jobmeter gather --make-keys FILE` makes both sides' files."""

    key_file: Annotated[
        str, Meta(description="Our own keys; readable by us only.", examples=["/etc/jobmeter/node.key"])
    ]
    gatherer_file: Annotated[
        str, Meta(description="The gatherer's public key.", examples=["/etc/jobmeter/gatherer.key.public"])
    ]


class Sending(Struct, frozen=True, forbid_unknown_fields=True):
    """Which gatherers there are, how they are spoken to, and what waits while none is there."""

    gatherers: Annotated[
        tuple[str, ...],
        Meta(
            description="Gatherers, a list or one; the next is turned to when one does not answer.",
            min_length=1,
            extra={"scalar_ok": True},
        ),
    ] = ("tcp://127.0.0.1:5557",)
    wire: Annotated[
        Literal["jobmeter", "colmet"],
        Meta(description="Our own frames, or the records of Colmet, which its colmet-collector reads."),
    ] = "jobmeter"
    acknowledge: Annotated[
        bool,
        Meta(description="Keep frames until a gatherer has them on disk. Needs its answering port, by default 5557."),
    ] = True
    answer_seconds: Annotated[
        float, Meta(description="How long a gatherer may be silent before another is turned to.", gt=0, le=3600)
    ] = 10.0
    spool: Annotated[
        str | None, Meta(description="Folder for what waits longer than memory should hold it; none: memory only.")
    ] = None
    spool_max_bytes: Annotated[
        int, Meta(description="How much may wait there; then the oldest goes, and is counted.", ge=2**16)
    ] = 2**28
    memory_max_bytes: Annotated[int, Meta(description="How much may wait in memory.", ge=2**16)] = 2**22
    memory_seconds: Annotated[
        float, Meta(description="How long it may wait in memory when there is a spool.", gt=0)
    ] = 10.0
    high_water_mark: Annotated[
        int, Meta(description="Messages in ZeroMQ's own queue, without acknowledgement; 0: no bound.", ge=0)
    ] = 1000
    linger_milliseconds: Annotated[
        int, Meta(description="How long that queue may take to empty at the end; -1: for ever.", ge=-1)
    ] = 0
    curve: Annotated[Curve | None, Meta(description="Encryption.")] = None

    def __post_init__(self) -> None:
        for address in self.gatherers:
            if (fault := address_fault(address)) is not None:
                raise WrongValue("gatherers", fault)
        if self.wire == "colmet" and self.curve is not None:
            raise WrongValue("curve", "Colmet knows no encryption")

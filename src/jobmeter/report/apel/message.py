"""The texts of APEL's messages, line for line as AUDITOR's plugin writes them, in both of its generations.

A message is a header and blocks, each ended by `%%`; a block is lines `key: value`. The receiver reads ASCII, splits at
`%%` wherever it stands, and takes `None`, `null` and nothing for a missing value (apel/db/loader/record_factory.py).
So a text from a record is written with escapes in the manner of RFC 4514: `\\` and two hexadecimal digits a byte; one
that is too wide for the receiver is cut (`receiver.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import Struct

from jobmeter.report.apel.receiver import Value, fitted

SUMMARY_FIELDS = (
    "Site", "Month", "Year", "GlobalUserName", "VO", "VOGroup", "VORole", "SubmitHost", "Infrastructure",
    "InfrastructureDescription", "NodeCount", "Processors", "EarliestEndTime", "LatestEndTime", "WallDuration",
    "CpuDuration", "NormalisedWallDuration", "NormalisedCpuDuration", "NumberOfJobs",
)  # fmt: skip
JOB_FIELDS = (
    "Site", "SubmitHost", "MachineName", "Queue", "LocalJobId", "LocalUserId", "GlobalUserName", "FQAN", "VO",
    "VOGroup", "VORole", "WallDuration", "CpuDuration", "Processors", "NodeCount", "StartTime", "EndTime",
    "InfrastructureDescription", "InfrastructureType", "MemoryReal", "MemoryVirtual", "ServiceLevelType",
    "ServiceLevel",
)  # fmt: skip
SYNC_FIELDS = ("Site", "SubmitHost", "NumberOfJobs", "Month", "Year")

BENCHMARKS = {"hepscore23": "HEPscore23", "hepspec": "hepspec", "si2k": "si2k"}
"""The benchmarks that the receiver knows, by lower case, as they are written."""


class Form(Enum):
    """A kind of message: its header, its fields in order, and whether an absent field is written as `None`."""

    SUMMARY = ("APEL-normalised-summary-message: v0.4", SUMMARY_FIELDS, False)
    OLD_SUMMARY = (
        "APEL-summary-job-message: v0.3",
        tuple(name for name in SUMMARY_FIELDS if name != "InfrastructureDescription"),
        True,
    )
    JOBS = ("APEL-individual-job-message: v0.3", JOB_FIELDS, True)
    SYNC = ("APEL-sync-message: v0.1", SYNC_FIELDS, True)

    def __init__(self, header: str, fields: tuple[str, ...], writes_none: bool) -> None:
        self.header = header
        self.fields = fields
        self.writes_none = writes_none


class Message(Struct, frozen=True):
    """One message: `text` is what is signed and sent."""

    form: Form
    text: str
    blocks: int


def block(form: Form, values: Mapping[str, Value]) -> str:
    """The lines of one block with its end. Raises KeyError for a field that the form does not have."""
    if unknown := values.keys() - set(form.fields):
        raise KeyError(f"{form.header} has no field {', '.join(sorted(unknown))}")
    lines = [
        f"{name}: {fitted(name, values.get(name))}"
        for name in form.fields
        if form.writes_none or values.get(name) is not None
    ]
    return "\n".join([*lines, "%%\n"])


def messages(form: Form, blocks: Iterable[str], bytes_max: int) -> list[Message]:
    """The blocks in as few messages as the bound of their texts allows, in order; a block is never divided."""
    found: list[Message] = []
    held: list[str] = []
    size = head = len(form.header) + 1
    for each in blocks:
        if held and size + len(each) > bytes_max:
            found.append(_message(form, held))
            held, size = [], head
        held.append(each)
        size += len(each)
    if held:
        found.append(_message(form, held))
    return found


def _message(form: Form, blocks: list[str]) -> Message:
    return Message(form, "\n".join([form.header, "".join(blocks)]), len(blocks))


def benchmarked(benchmark: str, value: int) -> str:
    """A normalised sum with the benchmark that it is in, as version 0.4 has it."""
    return f"{{{benchmark}: {value}}}"

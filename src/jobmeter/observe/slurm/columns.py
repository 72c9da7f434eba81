"""Which columns of sacct are asked for, in which order, and what kind each is of."""

from __future__ import annotations

from jobmeter.observe.slurm.settings import Settings

FIRST = "JobIDRaw"
"""Stands at the beginning of every line: digits, never free text."""

LAST = "State"
"""Stands at the end of every line: never free text."""

ALWAYS = ("JobID", "Start", "End", "Submit", "Group", "User", "NodeList")
"""Asked for whatever the configuration says, between the first and the last."""

SIZES = frozenset(
    {
        "averss", "maxrss", "avevmsize", "maxvmsize", "avediskread", "maxdiskread", "avediskwrite", "maxdiskwrite",
        "reqmem",
    }
)  # fmt: skip
"""Columns of sizes, in lower case: sacct may write `5K` for 5120 bytes in them."""

MAXIMA = frozenset({"maxrss", "maxvmsize", "maxdiskread", "maxdiskwrite", "maxpages"})
"""Columns, in lower case, whose value for a job is the largest of its steps'."""

CPU_TIMES = frozenset({"totalcpu", "systemcpu", "usercpu"})
"""Columns, in lower case, whose value for a job is the sum of its steps'."""


def wanted(settings: Settings) -> tuple[str, ...]:
    """The columns to ask for, each once (sacct does not mind their case), the first and the last in their places."""
    inner: dict[str, str] = {name.lower(): name for name in ALWAYS}
    for key in settings.rules.columns():
        inner.setdefault(key.lower(), key)
    for name in (FIRST, LAST):
        inner.pop(name.lower(), None)
    return (FIRST, *inner.values(), LAST)

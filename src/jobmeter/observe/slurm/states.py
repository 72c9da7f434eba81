"""The states of a Slurm job, by their names and by the abbreviations of squeue(1) and sacct(1)."""

from __future__ import annotations

_ENDED = {
    "BOOT_FAIL": "BF",
    "CANCELLED": "CA",
    "COMPLETED": "CD",
    "DEADLINE": "DL",
    "FAILED": "F",
    "NODE_FAIL": "NF",
    "OUT_OF_MEMORY": "OOM",
    "PREEMPTED": "PR",
    "REQUEUED": "RQ",
    "RESIZING": "RS",
    "REVOKED": "RV",
    "TIMEOUT": "TO",
}
_NOT_ENDED = {"PENDING": "PD", "RUNNING": "R", "SUSPENDED": "S"}
_OTHER_SPELLINGS = {"CANCELED": "CANCELLED", "NODEFAIL": "NODE_FAIL", "REQUEUE": "REQUEUED", "RESIZED": "RESIZING"}

_BY_NAME = {
    **{name: name for name in (*_ENDED, *_NOT_ENDED)},
    **{short: name for name, short in (*_ENDED.items(), *_NOT_ENDED.items())},
    **_OTHER_SPELLINGS,
}

ENDED_STATES = tuple(_ENDED)
"""The states in which an accounting row is closed. REVOKED is a federated job that ran elsewhere."""

EARLIER_RUN_STATES = frozenset({"REQUEUED", "RESIZING"})
"""The states of a row that is followed by another row of the same job, whatever comes."""


def canonical_state(name: str) -> str | None:
    """The full name of a state given by name or abbreviation in any case, or None when there is none of that name."""
    return _BY_NAME.get(name.strip().upper())


def base_state(text: str) -> str:
    """The state in a State column: `CANCELLED by 5001` is CANCELLED. "" when the column is empty."""
    return text.split(maxsplit=1)[0] if text.strip() else ""


def abbreviation(state: str) -> str:
    """What sacct's `-s` is given for a full name."""
    return _ENDED.get(state) or _NOT_ENDED[state]

"""Which jobs are asked for, in the SQL that OAR's tables understand, PostgreSQL or MySQL."""

from __future__ import annotations

from jobmeter.model.period import Period
from jobmeter.observe.oar.job import ENDED_STATES


def ended_in(period: Period, stop_time: str = "stop_time") -> str:
    """The jobs that ended in `period`. One that never began has no end: it counts where it was submitted.

    `stop_time` is the expression for the end, 0 where there is none.

    Nothing but whole numbers that were made here and words that stand here gets into it.
    """
    start, stop = (int(moment.timestamp()) for moment in (period.start, period.stop))
    states = ", ".join(f"'{state}'" for state in ENDED_STATES)
    return (
        f"state IN ({states}) AND ({stop_time} >= {start} AND {stop_time} < {stop}"
        f" OR {stop_time} = 0 AND submission_time >= {start} AND submission_time < {stop})"
    )

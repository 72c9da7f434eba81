"""Dead letters in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from jobmeter.model.letter import DeadLetter
from jobmeter.store.letterbox import EVICTED, LetterRow, letter_of
from jobmeter.store.session import Connection


def add_letters(writer: Connection, rows: Sequence[LetterRow], letters_max: int) -> None:
    """Keep letters, durable on return, and of all no more than the newest `letters_max`; what goes is counted."""
    with writer.transaction(), writer.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dead_letters (origin, reason, body, received_us, size_bytes) VALUES (%s, %s, %s, %s, %s)",
            rows,
        )
        evicted = cursor.execute(
            "DELETE FROM dead_letters WHERE no <= (SELECT no FROM dead_letters ORDER BY no DESC LIMIT 1 OFFSET %s)",
            (letters_max,),
        ).rowcount
        cursor.execute(
            "INSERT INTO counters (name, value) VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
            (EVICTED, evicted),
        )


def newest_letters(reader: Connection, limit: int) -> list[DeadLetter]:
    """The newest letters, the newest first."""
    rows = reader.execute(
        "SELECT no, origin, reason, body, received_us, size_bytes FROM dead_letters ORDER BY no DESC LIMIT %s",
        (limit,),
    )
    return [letter_of(number, rest) for number, *rest in rows]

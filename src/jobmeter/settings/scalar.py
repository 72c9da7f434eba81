"""Single values: how the text of a file, or a typed value of one, becomes what an option declares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import inspect

from jobmeter.settings.node import Plain, Scalar, integer, number, truth

FLOAT_MAX = sys.float_info.max


class Unfit(Exception):  # noqa: N818
    """Why a scalar does not fit; `{}` in the reason stands for the value."""

    def __init__(self, reason: str, mend: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mend = mend


def _text(declared: Any, node: Scalar, _: dict[str, Any]) -> str:
    if node.text is None or node.value is None:
        mend = "write it in quotes" if node.value is not None else None
        raise Unfit("{} is not text", mend)
    text = node.text
    if declared.min_length is not None and len(text) < declared.min_length:
        raise Unfit("is empty" if not text else f"is shorter than {declared.min_length} characters")
    if declared.max_length is not None and len(text) > declared.max_length:
        raise Unfit(f"is longer than {declared.max_length} characters")
    if declared.pattern is not None and re.search(declared.pattern, text) is None:
        raise Unfit(f"{{}} does not match {declared.pattern}")
    return text


def _whole(declared: Any, node: Scalar, _: dict[str, Any]) -> int:
    value: Plain = integer(node.value) if isinstance(node.value, str) else node.value
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit("{} is not a whole number")
    return int(_within(declared, value))


def _number(declared: Any, node: Scalar, _: dict[str, Any]) -> float:
    value: Plain = number(node.value) if isinstance(node.value, str) else node.value
    if not isinstance(value, int | float) or isinstance(value, bool) or not -FLOAT_MAX <= value <= FLOAT_MAX:
        raise Unfit("{} is not a number")
    return float(_within(declared, value))


def _within(declared: Any, value: float) -> float:
    if declared.ge is not None and value < declared.ge:
        raise Unfit(f"{{}} is less than {declared.ge}")
    if declared.gt is not None and value <= declared.gt:
        raise Unfit(f"{{}} is not more than {declared.gt}")
    if declared.le is not None and value > declared.le:
        raise Unfit(f"{{}} is more than {declared.le}")
    if declared.lt is not None and value >= declared.lt:
        raise Unfit(f"{{}} is not less than {declared.lt}")
    if declared.multiple_of is not None and value % declared.multiple_of:
        raise Unfit(f"{{}} is not a multiple of {declared.multiple_of}")
    return value


def _truth(_declared: Any, node: Scalar, _: dict[str, Any]) -> bool:
    value = truth(node.value) if isinstance(node.value, str) else node.value
    if not isinstance(value, bool):
        raise Unfit("{} is neither true nor false")
    return value


def _moment(declared: Any, node: Scalar, _: dict[str, Any]) -> datetime:
    value = node.value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise Unfit("{} is not a date and time", "write it like 2024-01-31T12:00:00Z") from None
    if not isinstance(value, datetime):
        raise Unfit("{} is not a date and time", "write it like 2024-01-31T12:00:00Z")
    if value.tzinfo is None and declared.tz is not False:
        raise Unfit("{} has no time zone", "add Z for UTC, or an offset such as +01:00")
    return value


def _choice(declared: Any, node: Scalar, extra: dict[str, Any]) -> Any:
    if isinstance(declared, inspect.EnumType):
        choices: dict[Any, Any] = {member.value: member for member in declared.cls}
    else:
        choices = {value: value for value in declared.values}
    for written in (node.value, node.text):
        if written is not None and not isinstance(written, bool) and written in choices:
            return choices[written]
        if isinstance(written, str):
            for value, member in choices.items():
                same = str(value) == written
                if same or (extra.get("any_case") and str(value).lower() == written.lower()):
                    return member
    raise Unfit(f"{{}} is not one of {', '.join(map(str, choices))}")


def _path(declared: Any, node: Scalar, _: dict[str, Any]) -> Path:
    if declared.cls is not Path:
        raise TypeError(f"settings cannot hold {declared.cls.__name__}")
    if node.text is None or not node.text or "\0" in node.text:
        raise Unfit("{} is not a path")
    return Path(node.text)


READERS: Mapping[type, Callable[[Any, Scalar, dict[str, Any]], Any]] = {
    inspect.StrType: _text,
    inspect.IntType: _whole,
    inspect.FloatType: _number,
    inspect.BoolType: _truth,
    inspect.DateTimeType: _moment,
    inspect.EnumType: _choice,
    inspect.LiteralType: _choice,
    inspect.CustomType: _path,
}
NATURAL: Mapping[type, tuple[type, ...]] = {
    inspect.StrType: (str,),
    inspect.IntType: (int,),
    inspect.FloatType: (float, int),
    inspect.BoolType: (bool,),
    inspect.DateTimeType: (datetime,),
}

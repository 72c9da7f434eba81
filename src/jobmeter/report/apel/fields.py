"""The field types of APEL's configuration: where a value of a message comes from, in a record.

The types and their parameters are those of AUDITOR's plugin, both generations. A value that a record lacks is told by
`Missing`, never by a number, and a text that is not there is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Literal
from urllib.parse import quote, unquote

from msgspec import Meta, Struct

from jobmeter.model.record import Component, Record
from jobmeter.report.apel.receiver import Value
from jobmeter.settings.fault import WrongValue

ESCAPES = ("%2F", "%2f", "%3D", "%3d", "%20", "%40", "%3A", "%3a")
"""A pattern with one of these was written for percent-encoded texts, which the older plugin searched."""

SEARCH_SECONDS = 1.0


class Missing(ValueError):  # noqa: N818 - what it is, not that it is an error
    """The record has not what the field is made of; the message says what."""


class ScoreField(Struct, frozen=True, tag="ScoreField", tag_field="field"):
    """The value of a score of a component."""

    name: Annotated[str, Meta(description="Name of the score.", examples=["hepscore23"])]
    component_name: Annotated[str, Meta(description="Name of the component that has it.", examples=["Cores"])]

    def read(self, record: Record) -> float:
        """The score. Raises Missing."""
        component = _component(record, self.component_name)
        for score in component.scores:
            if score.name == self.name:
                return score.value
        raise Missing(f"the component {self.component_name} has no score {self.name}")


class ComponentField(Struct, frozen=True, tag="ComponentField", tag_field="field"):
    """The amount of a component, divided and rounded where the receiver counts in another unit."""

    name: Annotated[str, Meta(description="Name of the component.", examples=["TotalCPU"])]
    divide_by: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Divides the amount, for another unit.")
    ] = None

    def read(self, record: Record) -> int:
        """The amount, rounded half to even. Raises Missing."""
        return divided(_component(record, self.name).amount, self.divide_by)


class Function(Struct, frozen=True):
    """A named function of a text."""

    name: Annotated[Literal["vo_mapping"], Meta(description="vo_mapping: the VO of the first prefix that fits.")]
    parameters: Annotated[
        dict[str, str], Meta(description="Beginnings of the text, each with what it stands for, in order.")
    ]


class MetaField(Struct, frozen=True, tag="MetaField", tag_field="field"):
    """The first value under a key of the record's meta, or a part of it."""

    name: Annotated[str, Meta(description="The meta key.", examples=["voms"])]
    regex: Annotated[str | None, Meta(description="Searched in the value; the whole match is taken.")] = None
    function: Annotated[Function | None, Meta(description="Applied to the value where no regex is given.")] = None

    def __post_init__(self) -> None:
        if self.regex is not None:
            import regex  # noqa: PLC0415 - as in observe/pattern.py: only a file that has a pattern pays for it

            try:
                regex.compile(self.regex)
            except regex.error as fault:
                raise WrongValue("regex", f"is not a regular expression: {fault}") from None

    def read(self, record: Record) -> str | None:
        """The text, None where there is none."""
        values = (record.meta or {}).get(self.name)
        return self.text_of(values[0]) if values else None

    def text_of(self, text: str | None) -> str | None:
        """What is made of the text under the key."""
        if text is None:
            return None
        if self.regex is not None:
            return self._searched(text)
        if self.function is None:
            return text
        return next((stands for begin, stands in self.function.parameters.items() if text.startswith(begin)), None)

    def _searched(self, text: str) -> str | None:
        import regex  # noqa: PLC0415

        pattern = self.regex or ""
        encoded = any(escape in pattern for escape in ESCAPES)
        if encoded and not any(escape in text for escape in ESCAPES):
            text = quote(text, safe="")
        try:
            found = regex.search(pattern, text, timeout=SEARCH_SECONDS)
        except TimeoutError:
            raise Missing(f"the search in the meta {self.name} took longer than {SEARCH_SECONDS} s") from None
        if found is None:
            return None
        return unquote(found[0]) if encoded else str(found[0])


class ConstantField(Struct, frozen=True, tag="ConstantField", tag_field="field"):
    """A value that is the same for all records."""

    value: Annotated[str | int | float, Meta(description="The value.", examples=["grid"])]

    def read(self, record: Record) -> Value:
        """The value itself."""
        del record
        return self.value


class RecordField(Struct, frozen=True, tag="RecordField", tag_field="field"):
    """Something of the record itself; of a time, the part that `modify` names."""

    name: Annotated[
        Literal["record_id", "start_time", "stop_time", "runtime"], Meta(description="What.", examples=["runtime"])
    ] = "runtime"
    modify: Annotated[
        Literal["year", "month", "day", "hour", "minute", "second"] | None,
        Meta(description="A part of a time, in UTC."),
    ] = None

    def read(self, record: Record) -> Value:
        """The id, the seconds of a runtime, or a time in whole seconds since 1970. Raises Missing."""
        if self.name == "record_id":
            return record.record_id
        if self.name == "runtime":
            if record.runtime_seconds is None:
                raise Missing("there is no runtime, the job has not stopped")
            return record.runtime_seconds
        moment = record.start_time if self.name == "start_time" else record.stop_time
        if moment is None:
            raise Missing("there is no stop_time, the job has not stopped")
        return int(moment.timestamp()) if self.modify is None else int(getattr(moment, self.modify))


Base = ComponentField | RecordField | ConstantField


class NormalisedField(Struct, frozen=True, tag="NormalisedField", tag_field="field"):
    """A base value times a score: by default the runtime."""

    score: Annotated[ScoreField, Meta(description="The score.")]
    base_value: Annotated[Base, Meta(description="What is multiplied.", extra={"untagged": "ComponentField"})] = (
        RecordField("runtime")
    )

    def read(self, record: Record) -> int:
        """The product, rounded half to even. Raises Missing."""
        base = self.base_value.read(record)
        if not isinstance(base, int | float):
            raise Missing("the base value is no number")
        return rounded(Decimal(str(base)) * Decimal(repr(self.score.read(record))))


class NormalisedWallDurationField(Struct, frozen=True, tag="NormalisedWallDurationField", tag_field="field"):
    """The runtime times a score: the older plugin's name for it."""

    score: Annotated[ScoreField, Meta(description="The score.")]

    def read(self, record: Record) -> int:
        """The product, rounded half to even. Raises Missing."""
        return NormalisedField(self.score).read(record)


Field = (
    ComponentField
    | MetaField
    | ConstantField
    | ScoreField
    | NormalisedField
    | NormalisedWallDurationField
    | RecordField
)


def values(fields: Mapping[str, Field], record: Record) -> dict[str, Value]:
    """The values of all fields. Raises Missing."""
    return {name: field.read(record) for name, field in fields.items()}


def divided(amount: int, by: int | None) -> int:
    """The amount in another unit, rounded half to even, exactly."""
    return amount if by is None else rounded(Decimal(amount) / by)


def rounded(number: Decimal) -> int:
    """The nearest whole number, half to even."""
    return int(number.to_integral_value(ROUND_HALF_EVEN))


def _component(record: Record, name: str) -> Component:
    for component in record.components:
        if component.name == name:
            return component
    raise Missing(f"there is no component {name}")

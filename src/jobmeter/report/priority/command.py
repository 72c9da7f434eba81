"""The commands that set priorities: a template is split into words first, so that no value can add a word."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_HARMLESS = re.compile(r"[\w .,:@%+=/-]*")
_PLACE = re.compile(r"\{(priority|resources?|group|[1-9][0-9]*)\}")


class Outcome(Struct, frozen=True):
    """What one group gets: `resource` is amount times score times seconds, `mapping` the texts of the file."""

    group: str
    priority: int
    resource: Fraction
    mapping: tuple[str, ...]


class BadTemplate(ValueError):  # noqa: N818 - what it is, not that it is an error
    """The text cannot be split into words, or is empty; the message says why."""


def words(template: str) -> list[str]:
    """The words of a template by the rules of the shell, without any of its expansions. Raises BadTemplate."""
    try:
        found = shlex.split(template)
    except ValueError as fault:
        raise BadTemplate(str(fault)) from None
    if not found:
        raise BadTemplate("is empty")
    return found


def missing_places(template: Sequence[str], mapping: Sequence[str]) -> list[str]:
    """The places of a template that this mapping has no text for, such as `{3}`."""
    places = {place for word in template for place in _PLACE.findall(word) if place.isdigit()}
    return [f"{{{place}}}" for place in sorted(places, key=int) if int(place) > len(mapping)]


def looked_into(template: Sequence[str], group: str, mapping: Sequence[str]) -> list[str]:
    """The texts of a group that a shell would interpret, where the template itself starts one with `-c`."""
    values = {"group": group, **{str(number): text for number, text in enumerate(mapping, 1)}}
    texts = [values[place] for place in _PLACE.findall(_program(template)) if place in values]
    return [text for text in dict.fromkeys(texts) if _HARMLESS.fullmatch(text) is None]


def _program(template: Sequence[str]) -> str:
    """The word that a shell among the words takes for its program, else nothing."""
    names = [word.rpartition("/")[2] for word in template]
    shell = next((place for place, name in enumerate(names) if name in _SHELLS), len(names))
    for place in range(shell + 1, len(template) - 1):
        if re.fullmatch(r"-[a-z]*c[a-z]*", template[place]):
            return template[place + 1]
    return ""


def filled(template: Sequence[str], outcome: Outcome) -> list[str]:
    """The words with the values of one group in their places. What is no place stays as it is."""
    values = {
        "priority": str(outcome.priority),
        "resource": plain(outcome.resource),
        "resources": plain(outcome.resource),
        "group": outcome.group,
        **{str(number): text for number, text in enumerate(outcome.mapping, 1)},
    }
    return [_PLACE.sub(lambda found: values.get(found[1], found[0]), word) for word in template]


def plain(number: Fraction) -> str:
    """The number in decimal, without an exponent and without needless digits; `17280`, `0.5`."""
    if number.denominator == 1:
        return str(number.numerator)
    return format(Decimal(repr(float(number))), "f")

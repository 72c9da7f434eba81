"""Kubernetes quantities, read exactly: `100m`, `1Gi`, `1.5`, `1e3`, `2E`.

The grammar is that of the API's type Quantity (k8s.io/apimachinery, `pkg/api/resource`): a decimal number and either a
power of two (Ki … Ei), a decimal suffix (n u m, none, k M G T P E) or a decimal exponent. `E` alone is 10^18, followed
by digits it is an exponent.
"""

from __future__ import annotations

import re
from fractions import Fraction

from jobmeter.model.record import AMOUNT_MAX
from jobmeter.observe.shape.values import Unreadable

_QUANTITY = re.compile(
    r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?", re.ASCII
)
_BINARY = {suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {
    **{suffix: Fraction(1, 1000**power) for power, suffix in enumerate("mun", 1)},
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", 1)},
}
_LENGTH_MAX = 64
_EXPONENT_MAX = 64


def quantity(text: str) -> Fraction:
    """The number that a quantity is, not rounded. Raises Unreadable."""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None:
        raise Unreadable(f"{text[:_LENGTH_MAX]!r} is not a quantity")
    sign, digits, binary, decimal, exponent = match.groups()
    value = Fraction(digits if not digits.endswith(".") else digits[:-1])
    if binary is not None:
        value *= _BINARY[binary]
    elif decimal is not None:
        value *= _DECIMAL[decimal]
    elif exponent is not None:
        if abs(int(exponent)) > _EXPONENT_MAX:
            raise Unreadable(f"{text!r} is beyond what is counted")
        value *= Fraction(10) ** int(exponent)
    return -value if sign == "-" else value


def whole(value: Fraction) -> int:
    """The value as a whole number, a part of one rounded up, as Kubernetes does. Raises Unreadable out of 63 bits."""
    rounded = -(-value.numerator // value.denominator)
    if value < 0 or rounded > AMOUNT_MAX:
        raise Unreadable(f"{value} is negative or does not fit into 64 bits")
    return rounded


def amount(resource: str, value: Fraction) -> int:
    """A quantity of a resource in the unit of its component: millicores for `cpu`, else the resource's own unit."""
    return whole(value * 1000 if resource == "cpu" else value)

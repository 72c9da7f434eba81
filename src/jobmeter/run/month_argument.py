"""A month on the command line."""

from __future__ import annotations

import argparse

from jobmeter.report.month import Month


def month_argument(text: str) -> Month:
    """The month `YYYY-MM`. Raises ArgumentTypeError."""
    try:
        return Month.parse(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None

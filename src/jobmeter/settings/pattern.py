"""Regular expressions of settings."""

from __future__ import annotations

import re

from jobmeter.settings.fault import WrongValue


def pattern(key: str, text: str) -> re.Pattern[str]:
    """The regular expression that stands under `key`. Raises WrongValue."""
    try:
        return re.compile(text)
    except re.error as fault:
        raise WrongValue(key, f"is no regular expression: {fault}") from None

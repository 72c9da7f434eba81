"""Pseudonyms of users and hosts.

`md5-last8` is the rule that the AF metrics collector's description gives, `sha256-first8` the one that its program
follows. Both are short and without a key: who has a list of names finds them all. `hmac-sha256` is safe as long as the
key is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Literal

Rule = Literal["md5-last8", "sha256-first8", "hmac-sha256"]

_HMAC_DIGITS = 32


def pseudonym(rule: Rule, salt: str, key: bytes) -> Callable[[str], str]:
    """The function from a user's name to what is sent instead. Only `hmac-sha256` uses the key, the others the salt."""

    def by_md5(user: str) -> str:
        return hashlib.md5(_bytes(salt + user), usedforsecurity=False).hexdigest()[-8:]

    def by_sha256(user: str) -> str:
        return hashlib.sha256(_bytes(salt + user)).hexdigest()[:8]

    def by_hmac(user: str) -> str:
        return hmac.new(key, _bytes(user), hashlib.sha256).hexdigest()[:_HMAC_DIGITS]

    return {"md5-last8": by_md5, "sha256-first8": by_sha256, "hmac-sha256": by_hmac}[rule]


def host_pseudonym(name: str, domain: str) -> str:
    """`atlas`, all digits of the host's name in their order, and the domain."""
    return f"atlas{''.join(letter for letter in name if letter.isdigit())}.{domain}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

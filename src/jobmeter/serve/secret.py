"""The secrets of bearer tokens: how they look, and the digest by which alone they are kept.

A secret has 256 random bits, so one round of SHA-256 hides it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "jobmeter_"
"""So that a scanner for leaked secrets can tell one."""

LENGTH_MAX = 200


def new_secret() -> str:
    """A fresh secret."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str | bytes) -> bytes:
    """What is kept in place of the secret."""
    return hashlib.sha256(secret if isinstance(secret, bytes) else secret.encode()).digest()

"""Who may come in at a gatherer that asks for keys."""

from __future__ import annotations

import zmq
import zmq.auth.thread


class _Known:
    """Says which keys are let in, as ZeroMQ's authenticator asks it."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = frozenset(keys)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a peer with this public key, in Z85, may come in."""
        del domain
        return key in self._keys


def doorkeeper(context: zmq.Context[zmq.Socket[bytes]], allowed: list[bytes]) -> zmq.auth.thread.ThreadAuthenticator:
    """Started: lets in the peers with these public keys only. To be stopped before the context ends."""
    keeper = zmq.auth.thread.ThreadAuthenticator(context)
    keeper.start()
    keeper.configure_curve_callback("*", credentials_provider=_Known(allowed))
    return keeper

"""The observed machine: where its files are, what time it is there, and how a command of it is run."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from msgspec import Struct

from jobmeter.contract import Clock

if TYPE_CHECKING:
    import subprocess

_CHUNK_BYTES = 1 << 16
_STDERR_MAX_BYTES = 1 << 16
_POLL_SECONDS = 0.5
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class CommandMissing(Exception):  # noqa: N818 - the names say the facts
    """There is no such command, or it may not be run; the message names it."""


class CommandFailed(Exception):  # noqa: N818
    """The command ended with a status other than 0 (negative: minus the signal) and said `stderr`."""

    def __init__(self, command: str, status: int, stderr: str) -> None:
        super().__init__(f"{command} ended with status {status}: {stderr.strip()[-500:] or 'it gave no reason'}")
        self.status = status
        self.stderr = stderr


class CommandTimedOut(Exception):  # noqa: N818
    """The command was still running after its time and was killed with all that it had started."""


class OutputTooLarge(Exception):  # noqa: N818
    """The command wrote more than the bound and was killed; what it wrote is not given."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, UTC."""
        return datetime.now(UTC)


Encoding = Literal["utf-8", "latin-1"]


class Output(Struct, frozen=True):
    """What a command wrote. `replaced` counts the bytes that were no UTF-8, each now U+FFFD."""

    text: str
    stderr: str
    replaced: int


class Host(Struct, frozen=True):
    """A machine under `root`, with its clock and the environment that its commands may be given parts of.

    `name` is what it calls itself; the samples and documents of a node carry it.
    """

    root: Path
    clock: Clock
    environment: Mapping[str, str]
    name: str = ""

    def path(self, absolute: str | Path) -> Path:
        """Where the file that the machine calls `absolute` is found from here. A relative path is left as it is."""
        path = Path(absolute)
        return self.root / path.relative_to("/") if path.is_absolute() else path

    def run(  # noqa: PLR0913 - what bounds a command
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_seconds: float,
        output_max_bytes: int,
        encoding: Encoding = "utf-8",
        unwanted: threading.Event | None = None,
    ) -> Output:
        """Run a command by its argument vector, without a shell, with exactly this environment and no input.

        Read as `latin-1`, what it wrote loses nothing: a letter is a byte.

        The command is not looked for under `root`: what it prints is the machine's own word. It runs in a process group
        of its own, which is killed as a whole when it does not end in time or writes too much, and within a second once
        it is `unwanted`. Raises CommandMissing, CommandFailed, CommandTimedOut or OutputTooLarge.
        """
        with _running(argv, environment) as process:
            out, err = _gathered(process, argv[0], time.monotonic() + timeout_seconds, output_max_bytes, unwanted)
        stderr = err.decode("utf-8", "replace")
        if process.returncode != 0:
            raise CommandFailed(argv[0], process.returncode, stderr)
        text, replaced = _decoded(out) if encoding == "utf-8" else (out.decode(encoding), 0)
        return Output(text, stderr, replaced)

    def stream(
        self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_seconds: float, told: list[str]
    ) -> Iterator[bytes]:
        """As `run`, giving what the command writes as it comes, so that it need not fit into memory.

        Only the time that the command keeps us waiting counts against its limit. When it has ended well, what it said
        on its standard error is added to `told`. Raises CommandMissing, CommandFailed or CommandTimedOut, the latter
        two after all that was written before. Closing the iterator kills the command.
        """
        err = bytearray()
        with _running(argv, environment) as process:
            yield from _flow(process, argv[0], timeout_seconds, err)
        stderr = err.decode("utf-8", "replace")
        if process.returncode != 0:
            raise CommandFailed(argv[0], process.returncode, stderr)
        if stderr.strip():
            told.append(stderr.strip())


def this_host() -> Host:
    """The machine that this program runs on."""
    return Host(Path("/"), SystemClock(), dict(os.environ), os.uname().nodename)


@contextlib.contextmanager
def _running(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command; at the end of the block nothing of it is left, also when a signal raised an error at any moment."""
    process = None
    try:
        with _signals_wait():
            process = _started(argv, environment)
        yield process
    finally:
        if process is not None:
            _ended(process)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGTERM and SIGINT that come within the block do what they do at its end.

    They are noted, not blocked: a command would begin with them blocked. What no function here handles is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread
        return
    noted: list[int] = []
    handlers = {}
    try:
        with _signals_blocked():
            for number in _STOPPING:
                if callable(handler := signal.getsignal(number)):
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: noted.append(number))
        yield
    finally:
        with _signals_blocked():
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for came in noted:
                signal.raise_signal(came)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    import subprocess  # noqa: PLC0415 - most nodes run no command, and the library takes 3 ms

    try:
        return subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as fault:
        raise CommandMissing(f"{argv[0]} cannot be run: {fault.strerror}") from None


def _gathered(
    process: subprocess.Popen[bytes],
    name: str,
    deadline: float,
    output_max_bytes: int,
    unwanted: threading.Event | None,
) -> tuple[bytes, bytes]:
    """Both outputs until the command has ended. A child of it that keeps them open is not waited for."""
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, buffer in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, buffer)
        while selector.get_map():
            ended = process.poll() is not None
            left = deadline - time.monotonic()
            if left <= 0 or (unwanted is not None and unwanted.is_set()):
                raise CommandTimedOut(f"{name} had not ended in time and was killed")
            ready = selector.select(0 if ended else min(left, _POLL_SECONDS))
            for key, _ in ready:
                if not _read(key.fileobj, key.data):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
            if len(out) > output_max_bytes:
                raise OutputTooLarge(f"{name} wrote more than {output_max_bytes} bytes")
            del err[_STDERR_MAX_BYTES:]
            if ended and not ready:
                break
    _require_end(process, name, max(0.0, deadline - time.monotonic()))
    return bytes(out), bytes(err)


def _flow(process: subprocess.Popen[bytes], name: str, patience_seconds: float, err: bytearray) -> Iterator[bytes]:
    """Standard output in pieces, standard error into `err`, until the command has ended."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    assert process.stderr is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ended = process.poll() is not None
            asked = time.monotonic()
            ready = selector.select(0 if ended else min(patience_seconds, _POLL_SECONDS))
            patience_seconds -= time.monotonic() - asked
            for key, _ in ready:
                if not (chunk := os.read(key.fd, _CHUNK_BYTES)):
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    yield chunk
                else:
                    err += chunk[: _STDERR_MAX_BYTES - len(err)]
            if ended and not ready:
                break
            if patience_seconds <= 0:
                raise CommandTimedOut(f"{name} had not ended in time and was killed")
    _require_end(process, name, max(patience_seconds, _POLL_SECONDS))


def _require_end(process: subprocess.Popen[bytes], name: str, seconds: float) -> None:
    """Wait for the end of a command that has closed its outputs."""
    import subprocess  # noqa: PLC0415 - see _started

    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise CommandTimedOut(f"{name} had not ended in time and was killed") from None


def _read(pipe: IO[bytes], buffer: bytearray) -> bool:
    """Move what is there into the buffer; False at the end of the output."""
    chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
    buffer += chunk
    return bool(chunk)


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind: neither the command nor what it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _decoded(raw: bytes) -> tuple[str, int]:
    try:
        return raw.decode("utf-8"), 0
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        return text, text.count("\ufffd") - raw.count(b"\xef\xbf\xbd")

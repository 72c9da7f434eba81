"""Our own messages between a node and a gatherer: frames of samples, and the answers to them.

A frame is one message: a head of fixed form, the node's name, and a body that explains itself. The head begins with
four bytes that no message of Colmet begins with, and one byte for the version; these five stay in every version.

    4s magic, B version, B compression, H length of the node's name, I length of the body when unpacked,
    I CRC-32 of the last three numbers, name and body as sent, Q stream, Q sequence, Q dropped

`stream` is drawn by a sender when it starts, `sequence` counts its frames from 1, `dropped` counts the samples it had
to give up since it began. The body is MessagePack: names of metrics and their catalogue entries, and what was measured,
by index into those lists. An answer is

    4s magic, B version, B verdict, Q stream, Q sequence

and stands for all frames of the stream up to the sequence.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum

import msgspec
from msgspec import Struct

from jobmeter.model.sample import SampleBatch
from jobmeter.wire.frame_body import BadBody, CatalogueText, pack, unpack

MAGIC = b"\x93JMF"
ANSWER_MAGIC = b"\x93JMA"
VERSION = 1

MESSAGE_MAX_BYTES = 16 * 2**20
"""A longer message is refused, ours and Colmet's."""
BODY_MAX_BYTES = 8 * 2**20
"""A body that would be longer when unpacked is refused: it is not what a sender of ours makes."""

_HEAD = struct.Struct("<4sBBHIIQQQ")
_ANSWER = struct.Struct("<4sBBQQ")
_PLAIN, _ZLIB = 0, 1
_WORTH_BYTES = 200
_WINDOW_BITS, _MEMORY_LEVEL = 13, 6
_NAME_MAX_BYTES = 1024


class BadFrame(Exception):  # noqa: N818 - the name says the fact
    """What came is no whole frame; the message says what is wrong with it."""


class UnknownVersion(BadFrame):
    """A frame of a version that this release does not know."""


class Head(Struct, frozen=True):
    """What stands before the body. `node` is the name of the sender."""

    node: str
    stream: int
    sequence: int
    dropped: int = 0


class Verdict(IntEnum):
    """What a gatherer did with frames."""

    STORED = 0
    """They are durable there; the sender may forget them."""
    UNREADABLE = 1
    """This one frame will never be taken, and need not be sent again."""
    VERSION = 2
    """The gatherer does not know the version of this frame; another, or a newer one, may."""


class Answer(Struct, frozen=True):
    """A gatherer's word on the frames of a stream."""

    verdict: Verdict
    stream: int
    sequence: int


def is_frame(message: bytes) -> bool:
    """Whether a message claims to be a frame, of whatever version."""
    return message.startswith(MAGIC)


def encode_frame(
    head: Head, batch: SampleBatch, *, with_help: bool = False, catalogue: CatalogueText | None = None
) -> bytes:
    """The frame. Raises OverflowError for a number beyond 64 bits, ValueError when the body would be too long.

    `catalogue` is kept by who makes many frames.
    """
    body = pack(batch, with_help=with_help, catalogue=catalogue or CatalogueText())
    if len(body) > BODY_MAX_BYTES:
        raise ValueError(f"a body of {len(body)} bytes, {BODY_MAX_BYTES} are allowed: offer less at once")
    plain, compression = len(body), _PLAIN
    if plain > _WORTH_BYTES:
        body, compression = _deflated(body), _ZLIB
    name = head.node.encode("utf-8", "replace")[:_NAME_MAX_BYTES]
    numbers = (head.stream, head.sequence, head.dropped)
    crc = _crc(numbers, name, body)
    return _HEAD.pack(MAGIC, VERSION, compression, len(name), plain, crc, *numbers) + name + body


def _deflated(body: bytes) -> bytes:
    """As tight as zlib's fastest, within a quarter of its memory: a node does this every second and not much else."""
    work = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return work.compress(body) + work.flush()


def read_head(message: bytes) -> Head:
    """The head of a frame whose body may be anything. Raises BadFrame."""
    return _split(message)[0]


def decode_frame(message: bytes) -> tuple[Head, SampleBatch]:
    """The head and the samples. Raises BadFrame, also UnknownVersion."""
    head, compression, plain, crc, name, body = _split(message)
    if _crc((head.stream, head.sequence, head.dropped), name, body) != crc:
        raise BadFrame("the check sum does not fit: the frame was changed or cut on its way")
    try:
        return head, unpack(_inflated(body, plain) if compression == _ZLIB else bytes(body), head.node)
    except (BadBody, zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadFrame(f"the body cannot be read: {fault}") from None


def encode_answer(answer: Answer) -> bytes:
    """The message of an answer."""
    return _ANSWER.pack(ANSWER_MAGIC, VERSION, answer.verdict, answer.stream, answer.sequence)


def decode_answer(message: bytes) -> Answer:
    """The answer. Raises BadFrame."""
    if len(message) != _ANSWER.size or not message.startswith(ANSWER_MAGIC):
        raise BadFrame("is no answer of a gatherer")
    _, version, verdict, stream, sequence = _ANSWER.unpack(message)
    if version != VERSION or verdict not in set(Verdict):
        raise UnknownVersion(f"an answer of version {version} with verdict {verdict}")
    return Answer(Verdict(verdict), stream, sequence)


def _split(message: bytes) -> tuple[Head, int, int, int, bytes, memoryview]:
    if not is_frame(message):
        raise BadFrame("does not begin like a frame")
    if len(message) > len(MAGIC) and message[len(MAGIC)] != VERSION:
        raise UnknownVersion(f"a frame of version {message[len(MAGIC)]}, this release knows {VERSION}")
    if len(message) < _HEAD.size:
        raise BadFrame(f"is cut within its head, after {len(message)} bytes")
    _, _, compression, length, plain, crc, stream, sequence, dropped = _HEAD.unpack_from(message)
    name = message[_HEAD.size : _HEAD.size + length]
    if len(name) < length or compression not in (_PLAIN, _ZLIB) or plain > BODY_MAX_BYTES:
        raise BadFrame("has a head that makes no sense")
    head = Head(name.decode("utf-8", "replace"), stream, sequence, dropped)
    return head, compression, plain, crc, name, memoryview(message)[_HEAD.size + length :]


def _crc(numbers: tuple[int, int, int], name: bytes, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(name, zlib.crc32(struct.pack("<QQQ", *numbers))))


def _inflated(body: memoryview, plain: int) -> bytes:
    """The body unpacked: exactly as long as the head says, so that a small message cannot fill the memory."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(body, plain + 1)
    if len(text) != plain or not inflater.eof:
        raise BadBody("its length is not the one that the head tells")
    return text

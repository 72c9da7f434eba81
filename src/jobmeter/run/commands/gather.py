"""`jobmeter gather`: takes what nodes measure, ours and Colmet's, and hands it to any number of outputs.

Settings come from a TOML file; options go before it. They are those of Colmet's collector, and `--as-colmet` starts
with that program's defaults.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from jobmeter import __version__
from jobmeter.contract import StoreUnavailable
from jobmeter.deliver.fault import SpoolFault
from jobmeter.observe.host import SystemClock
from jobmeter.run.exposition import published
from jobmeter.run.gatherer.flags import adjusted, chosen_outputs, declare_flags
from jobmeter.run.gatherer.gathering import Gatherer
from jobmeter.run.gatherer.metrics import GatherMetrics
from jobmeter.run.gatherer.outputs import Output, close_outputs, open_outputs, output_settings
from jobmeter.run.gatherer.own import has_own, own_outputs
from jobmeter.run.log import set_level
from jobmeter.settings.fault import Place
from jobmeter.settings.gather import GatherSettings
from jobmeter.settings.load import bind, read
from jobmeter.settings.node import Mapping as Tree
from jobmeter.transport.curve import KeysUnusable, make_keys
from jobmeter.transport.gate import CannotListen

SUMMARY: str = "takes the samples of nodes and writes them to HDF5, Elasticsearch and other outputs"
SETTINGS: str = "jobmeter.settings.gather:GatherSettings"

WRONG_USE = 2
_LOOK_SECONDS = 1.0
_OBJECTS_BETWEEN_COLLECTIONS = 20_000

log = logging.getLogger("jobmeter.run")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="settings, in TOML")
    parser.add_argument("--as-colmet", action="store_true", help="start with the defaults of Colmet's collector")
    parser.add_argument(
        "--make-keys", type=Path, metavar="FILE", help="make a key pair in FILE and FILE.public, and end"
    )
    declare_flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Gather until a signal. 0 after an orderly stop, 1 when it cannot start or go on, 2 for wrong use or settings."""
    if arguments.version:
        print(f"colmet version {__version__} (jobmeter gather)" if arguments.as_colmet else f"jobmeter {__version__}")  # noqa: T201
        return 0
    if arguments.make_keys is not None:
        return _make_keys(arguments.make_keys)
    settings, tables = _settings(arguments)
    outputs = {**tables, **chosen_outputs(arguments)}
    if not outputs and not has_own(settings):
        return _misused(
            "no output is chosen: --text, --hdf5-filepath, --elastic-host, a table [outputs.NAME], samples.path or "
            "summaries.address"
        )
    try:
        with own_outputs(settings, SystemClock()) as own:
            try:
                opened = open_outputs(outputs)
            except BaseException:
                close_outputs(own)
                raise
            return gather(settings, [*opened, *own])
    except (OSError, ValueError, StoreUnavailable, SpoolFault) as fault:
        return _failed(str(fault))


def gather(settings: GatherSettings, outputs: list[Output]) -> int:
    """Gather into these opened outputs until a signal; they are closed. 0 after an orderly stop, else 1."""
    try:
        gatherer = Gatherer(settings, outputs)
    except (CannotListen, KeysUnusable, SpoolFault, OSError) as fault:
        close_outputs(outputs)
        return _failed(str(fault))
    _tell(settings, gatherer, outputs)
    stop, reopen = threading.Event(), threading.Event()
    _collect_less()
    with _signals(stop, reopen), published(GatherMetrics(gatherer), settings.metrics):
        gatherer.start()
        while not stop.wait(_LOOK_SECONDS) and gatherer.is_whole():
            if reopen.is_set():
                reopen.clear()
                gatherer.reopen()
            gatherer.keep_house()
        was_whole = stop.is_set()
        hanging = gatherer.stop()
    if hanging:
        log.error("gather.given_up outputs=%s they did not end in time; what they had not written is lost", hanging)
        logging.shutdown()
        os._exit(1)  # the interpreter's own end would wait for ever for what their threads hold
    log.info("gather.stopped samples=%d", gatherer.intake.counts.samples)
    return 0 if was_whole else 1


def _collect_less() -> None:
    """Samples by the ten thousand make no cycles, and to look for some among them takes a twentieth of the work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 10, 10)


def _settings(arguments: argparse.Namespace) -> tuple[GatherSettings, Mapping[str, Any]]:
    root = Tree((), Place("settings")) if arguments.config is None else read(arguments.config)
    loaded = bind(GatherSettings, root, os.environ, None)
    for note in loaded.notes:
        log.warning("settings.note %s", note)
    if arguments.log_level is None:
        set_level("debug" if arguments.verbose > 1 else loaded.settings.log_level)
    return adjusted(loaded.settings, arguments), output_settings(root)


def _tell(settings: GatherSettings, gatherer: Gatherer, outputs: list[Output]) -> None:
    plain, acknowledged = gatherer.gate.addresses
    names = ",".join(output.name for output in outputs)
    log.info("gather.listening plain=%s acknowledged=%s outputs=%s", plain or "-", acknowledged or "-", names)
    open_ports = [each for each in (plain, acknowledged if settings.listen.curve is None else "") if _is_open(each)]
    if open_ports:
        log.warning("gather.open addresses=%s anyone who reaches them may send samples", ",".join(open_ports))


def _is_open(address: str) -> bool:
    return address.startswith("tcp://") and not address.startswith(("tcp://127.", "tcp://[::1]"))


@contextmanager
def _signals(stop: threading.Event, reopen: threading.Event) -> Iterator[None]:
    def asked(number: int, _: FrameType | None) -> None:
        (reopen if number == signal.SIGHUP else stop).set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_keys(file: Path) -> int:
    try:
        shared = make_keys(file)
    except OSError as fault:
        return _failed(str(fault))
    print(f"{file}: our own keys, for nobody else\n{shared}: for the other side")  # noqa: T201
    return 0


def _misused(sentence: str) -> int:
    sys.stderr.write(f"jobmeter gather: {sentence}\n")
    return WRONG_USE


def _failed(sentence: str) -> int:
    log.error("gather.failed reason=%r", sentence)
    return 1

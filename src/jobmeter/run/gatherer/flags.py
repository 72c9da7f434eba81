"""The options of `jobmeter gather`: all of Colmet's collector, and a few of ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from jobmeter import registry
from jobmeter.settings.gather import GatherSettings

_COLMET_PLAIN = "tcp://0.0.0.0:5556"


def declare_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options. What is not given stays None, so that a file's settings stay as they are."""
    parser.add_argument("--version", action="store_true", help="print the version, and end")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log more; twice: everything")
    parser.add_argument(
        "-s", "--sample-period", type=_period, metavar="SECONDS", help="how often outputs make durable what they have"
    )
    parser.add_argument(
        "--buffer-size", type=_count, metavar="MESSAGES", help="how many messages are taken before they are synced"
    )
    parser.add_argument("--journal", metavar="DIR", help="folder of what is kept until all outputs have it")
    parser.add_argument(
        "--text", "--enable-stdout-backend", action="store_true", help="print samples on standard output"
    )
    parser.add_argument("--parquet", metavar="DIR", help="folder for Parquet files")
    zeromq = parser.add_argument_group("ZeroMQ")
    zeromq.add_argument(
        "--zeromq-bind-uri", metavar="URI", help="where Colmet's nodes, and ours without answers, send to"
    )
    zeromq.add_argument("--bind-acknowledged", metavar="URI", help="where our nodes send to, with answers")
    zeromq.add_argument(
        "--zeromq-hwm", type=_whole, metavar="MESSAGES", help="messages of one node that may queue; 0: all"
    )
    zeromq.add_argument(
        "--zeromq-linger", type=int, metavar="MS", help="time for unsent answers at the end; -1: for ever"
    )
    hdf5 = parser.add_argument_group("HDF5")
    hdf5.add_argument(
        "--hdf5-filepath", metavar="PATH", help="a file PATH.hdf5, or the beginning of the names of files"
    )
    hdf5.add_argument("--hdf5-complevel", type=int, choices=range(10), metavar="0-9", help="compression; 0: none")
    hdf5.add_argument("--hdf5-complib", metavar="NAME", help="zlib, lzf, or what h5py finds: blosc, bzip2, lzo")
    elastic = parser.add_argument_group("Elasticsearch, OpenSearch")
    elastic.add_argument("--elastic-host", metavar="URL", help="address, such as http://localhost:9200")
    elastic.add_argument("--elastic-index-prefix", metavar="PREFIX", help="beginning of the indices' names")
    elastic.add_argument("-P", "--http-credentials", type=Path, metavar="FILE", help="file that holds user:password")
    elastic.add_argument("--no-check-certificates", action="store_true", help="do not check the server's certificate")


def adjusted(settings: GatherSettings, arguments: argparse.Namespace) -> GatherSettings:
    """The settings with what the options say instead. Raises ValueError for what does not fit."""
    listen: dict[str, Any] = {}
    keeping: dict[str, Any] = {}
    top: dict[str, Any] = {}
    if arguments.as_colmet and arguments.config is None:
        listen.update(plain=_COLMET_PLAIN, acknowledged="", burst_messages=100)
        keeping.update(folder="")
        top.update(flush_seconds=5.0)
    _put(listen, "plain", arguments.zeromq_bind_uri)
    _put(listen, "acknowledged", arguments.bind_acknowledged)
    _put(listen, "high_water_mark", arguments.zeromq_hwm)
    _put(listen, "linger_milliseconds", arguments.zeromq_linger)
    _put(listen, "burst_messages", arguments.buffer_size)
    _put(keeping, "folder", arguments.journal)
    _put(top, "flush_seconds", arguments.sample_period)
    return msgspec.structs.replace(
        settings,
        listen=msgspec.structs.replace(settings.listen, **listen),
        journal=msgspec.structs.replace(settings.journal, **keeping),
        **top,
    )


def chosen_outputs(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of the outputs that the options choose. Raises ValueError for what does not fit."""
    colmet = arguments.as_colmet
    found: dict[str, Any] = {}
    if arguments.text:
        found["text"] = _plugin("text", {"form": "colmet" if colmet else "lines"})
    if arguments.parquet is not None:
        found["parquet"] = _plugin("parquet", {"folder": arguments.parquet})
    if arguments.hdf5_filepath is not None:
        given = {"path": arguments.hdf5_filepath}
        _put(given, "compression_level", arguments.hdf5_complevel)
        _put(given, "compression", arguments.hdf5_complib)
        found["hdf5"] = _plugin("hdf5", given)
    if arguments.elastic_host is not None:
        given = {"address": arguments.elastic_host}
        if colmet:
            given["index_prefix"] = "colmet_"
        _put(given, "index_prefix", arguments.elastic_index_prefix)
        _put(given, "credentials_file", None if arguments.http_credentials is None else str(arguments.http_credentials))
        if arguments.no_check_certificates:
            given["check_certificates"] = False
        found["elasticsearch"] = _plugin("elasticsearch", given)
    return found


def _plugin(name: str, given: dict[str, Any]) -> Any:
    return registry.module("sinks.samples", name).Settings(**given)


def _put(target: dict[str, Any], key: str, value: object) -> None:
    if value is not None:
        target[key] = value


def _period(text: str) -> float:
    return _within(float(text), 0.001, 3600.0)


def _count(text: str) -> int:
    return int(_within(int(text), 1, 10**9))


def _whole(text: str) -> int:
    return int(_within(int(text), 0, 10**9))


def _within(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{value:g} is not from {low:g} to {high:g}")
    return value

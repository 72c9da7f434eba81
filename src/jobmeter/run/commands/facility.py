"""`jobmeter facility`: who is here, what is queued, how this host is, as JSON documents posted to an endpoint.

It takes the command line of the AF metrics collector as it stands, and runs under its name.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from jobmeter import __version__
from jobmeter.observe.host import this_host
from jobmeter.observe.people.disguise import Rule
from jobmeter.run.facility import round as facility_round
from jobmeter.run.facility.plan import Plan, plan
from jobmeter.run.facility.settings import FacilitySettings
from jobmeter.run.log import set_level

SUMMARY: str = "sends documents of sessions, notebooks, queues and hosts to an endpoint"
SETTINGS = "jobmeter.run.facility.settings:FacilityFile"

_SECTIONS = {"jupyter": "jupyter", "ssh": "ssh", "this_host": "host", "batch": "batch"}

log = logging.getLogger("jobmeter.run")


def declare(parser: argparse.ArgumentParser) -> None:
    """The options of the AF metrics collector, and ours after them."""
    add = parser.add_argument
    add("--version", action="version", version=f"afmetrics_collector {__version__} (jobmeter)")
    add("--host", dest="this_host", action="store_true", help="observe this host: load, memory, network, mounts")
    add("-s", "--ssh", action="store_true", help="observe who is logged in here")
    add("-S", "--ssh-history", action="store_true", help="with -s: also who logged in or out in the last 5 minutes")
    add("-j", "--jupyter", action="store_true", help="observe who has a notebook open")
    add("-b", "--batch", action="store_true", help="observe the jobs of the batch system")
    add("-n", "--namespace", metavar="NAME", help="Kubernetes namespace of the notebooks (af-jupyter)")
    add("-l", "--label", metavar="KEY", help="label of a notebook's pod that holds its user (owner)")
    add("-t", "--token", help="token of the documents; seen by all in `ps`, so better in a file or a variable")
    add("-c", "--cluster", metavar="NAME", help="cluster of the documents (UC-AF)")
    add("-u", "--url", help="where documents go (https://af.atlas-ml.org/)")
    add("-v", "--verbose", dest="verbosity", action="store_const", const="info", help="log what is done")
    add("-vv", "--very-verbose", dest="verbosity", action="store_const", const="debug", help="log every detail")
    add("-o", "--obfuscate-users", action="store_true", help="send pseudonyms of users")
    add("-O", "--obfuscate-hosts", metavar="DOMAIN", help="call hosts atlas, their digits, and this domain")
    add("-z", "--salt", help="with -o: put before names, the same on all hosts")
    add("-g", "--group", metavar="NAME", help="tell of users of this Unix group only")
    add("-q", "--queue", metavar="NAME:CONSTRAINT", action="append", type=_queue, help="count jobs; may be repeated")
    add("-d", "--debug", action="store_true", help="write files in this folder, and send nothing")
    _declare_ours(parser)


def _declare_ours(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", metavar="FILE", type=Path, help="settings, TOML; options win over it")
    add("--token-file", metavar="FILE", help="file with the token; also $JOBMETER_FACILITY_SEND__TOKEN")
    add("--user-hash", metavar="RULE", choices=Rule.__args__, help=f"with -o: {', '.join(Rule.__args__)}")  # type: ignore[attr-defined]
    add("--key-file", metavar="FILE", help="with -o and hmac-sha256: the key, the same on all hosts")
    add("--array", metavar="N", type=int, help="send JSON arrays of up to N documents (1: one document a request)")
    add("--every", metavar="SECONDS", type=float, help="go on, and observe so often")
    add("--within", metavar="SECONDS", type=float, help="end within this time, whatever happens (240)")
    add("--strict", action="store_true", help="behave as the AF metrics collector did, see its page")
    add("--dry-run", action="store_true", help="print the documents as JSON lines; store, send, remember nothing")
    add("--as-afmetrics-collector", action="store_true", help=argparse.SUPPRESS)


def _queue(text: str) -> dict[str, str]:
    name, _, constraint = text.partition(":")
    if not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:CONSTRAINT")
    return {"name": name.strip(), "constraint": constraint.strip()}


def execute(arguments: argparse.Namespace) -> int:
    """Observe and deliver. 0 when all that was asked for is observed and delivered, else 1; with --strict always 0."""
    chosen = plan(arguments.config, given(arguments), strict=arguments.strict)
    _set_level(arguments, chosen.settings)
    for note in chosen.notes:
        log.warning("settings.note %s", note)
    if not chosen.sections:
        log.warning("facility.nothing_asked sections are asked for by -j, -s, --host, -b or in a file")
        return 0
    code = _run(chosen, arguments)
    return 0 if arguments.strict else code


def given(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the options say, by table of the settings ("" for the top) and key; only what was given."""
    sections = [name for option, name in _SECTIONS.items() if getattr(arguments, option)]
    tables: dict[str, dict[str, Any]] = {
        "": {
            "sections": sections or None,
            "cluster": arguments.cluster,
            "group": arguments.group or None,
            "obfuscate_users": arguments.obfuscate_users or None,
            "user_hash": arguments.user_hash or ("sha256-first8" if arguments.strict else None),
            "salt": arguments.salt,
            "hmac_key_file": arguments.key_file,
            "obfuscate_hosts": arguments.obfuscate_hosts or None,
            "every_seconds": arguments.every,
            "within_seconds": arguments.within,
        },
        "send": {
            "url": arguments.url,
            "token": arguments.token,
            "token_file": arguments.token_file,
            "array": arguments.array,
        },
        "jupyter": {"namespace": arguments.namespace, "label": arguments.label},
        "ssh": {"history": arguments.ssh_history or None},
        "batch": {"queues": arguments.queue},
    }
    return {
        table: {key: value for key, value in values.items() if value is not None} for table, values in tables.items()
    }


def _set_level(arguments: argparse.Namespace, settings: FacilitySettings) -> None:
    if arguments.log_level is not None:
        return
    quiet = "warn" if arguments.as_afmetrics_collector else settings.log_level
    set_level(arguments.verbosity or quiet)


def _run(chosen: Plan, arguments: argparse.Namespace) -> int:
    host = this_host()
    if arguments.dry_run:
        return facility_round.print_documents(chosen, host)
    return facility_round.run(chosen, host, to_files=Path.cwd() if arguments.debug else None)

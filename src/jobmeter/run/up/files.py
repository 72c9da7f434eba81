"""The settings files that `jobmeter up` makes in its data folder, once: they are the user's from then on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

_HEAD = """\
# Made by `jobmeter up`, which starts a collector with it. It is yours: change it as you like, it is not made again.
# Address, port and the place of the spool are told by `jobmeter up` itself; everything else counts as it stands here.
# In earnest: jobmeter collect {source} {file}
"""

_SLURM = """\
time_unit = "seconds"
earliest_datetime = {since}
sites = [{{ name = "{site}" }}]
meta = [
    {{ name = "partition", key = "Partition", key_type = "String" }},
    {{ name = "account", key = "Account", key_type = "String" }},
    {{ name = "state", key = "State", key_type = "String" }},
    {{ name = "job_name", key = "JobName", key_type = "String" }},
]
components = [
    {{ name = "Cores", key = "NCPUS" }},
    {{ name = "NNodes", key = "NNodes" }},
    {{ name = "TotalCPU", key = "TotalCPU", key_type = "Time", only_if = {{ key = "TotalCPU", matches = "." }} }},
    {{ name = "MaxRSS", key = "MaxRSS", only_if = {{ key = "MaxRSS", matches = "." }} }},
]
job_filter = {{ status = ["completed", "failed", "cancelled", "timeout", "node_fail", "out_of_memory"] }}
"""

_HTCONDOR = """\
record_prefix = "htcondor"
interval = 60
earliest_datetime = {since}
schedd_names = ["{node}"]
components = [{{ name = "Cores", key = "CpusProvisioned" }}]

[meta]
site = [{{ name = "{site}" }}]
user = [{{ key = "Owner" }}]
"""

_OAR = """\
earliest_datetime = {since}
sites = [{{ name = "{site}" }}]
meta = [
    {{ name = "queue", key = "queue_name", key_type = "String" }},
    {{ name = "ending", key = "ending", key_type = "String" }},
]
components = [{{ name = "Cores", key = "cores" }}, {{ name = "NNodes", key = "hosts" }}]
"""

_KUBERNETES = """\
earliest_datetime = {since}
meta = [{{ name = "site_id", value = "{site}" }}]
"""

COLLECTORS = {"slurm": _SLURM, "htcondor": _HTCONDOR, "oar": _OAR, "kubernetes": _KUBERNETES}


class Place(Struct, frozen=True):
    """What the settings are made for: the site and the node by name, since when, and the path of `command`."""

    site: str
    node: str
    since: datetime
    command: str


def collector_file(folder: Path, source: str, place: Place) -> Path:
    """The settings of a collector, made where there are none yet. Raises OSError."""
    file = folder / f"{source}.toml"
    if not file.exists():
        since = place.since.strftime("%Y-%m-%dT%H:%M:%SZ")
        text = COLLECTORS[source].format(site=_word(place.site), node=_word(place.node), since=since)
        text = _HEAD.format(source=source, file=file) + _places(source, folder, place.command) + text
        fresh = file.with_name(f"{file.name}.fresh")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    return file


def _places(source: str, folder: Path, command: str) -> str:
    state = {
        "slurm": ("database_path", f"{folder}/slurm.db"),
        "htcondor": ("state_db", f"{folder}/htcondor.db"),
        "kubernetes": ("database_path", str(folder)),
    }
    program = {"slurm": "sacct_path", "htcondor": "condor_history_path", "oar": "oarstat_path"}
    lines = [f"{key} = {_quoted(text)}" for key, text in (state[source],)] if source in state else []
    lines += [f"{program[source]} = {_quoted(command)}"] if source in program else []
    lines.append(f"spool = {{ path = {_quoted(f'{folder}/{source}.spool')} }}")
    lines.append(f"metrics = {{ file = {_quoted(f'{folder}/{source}.prom')} }}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """The text as TOML has it between quotes, which is as JSON has it."""
    return msgspec.json.encode(text).decode()


def server_variables(source: str, host: str, port: int, token_file: str | None) -> dict[str, str]:
    """The variables by which a collector is told where the server listens now, and which token to show it."""
    prefix, address, number = {
        "slurm": ("AUDITOR_SLURM_COLLECTOR_", "ADDR", "PORT"),
        "htcondor": ("JOBMETER_HTCONDOR_", "ADDR", "PORT"),
        "oar": ("JOBMETER_OAR_", "ADDR", "PORT"),
        "kubernetes": ("JOBMETER_KUBERNETES_", "AUDITOR_ADDR", "AUDITOR_PORT"),
    }[source]
    shown = {} if token_file is None else {f"{prefix}TOKEN_FILE": token_file}
    return {prefix + address: host, prefix + number: str(port), **shown}


def facility_file(folder: Path, cluster: str, batch: str | None) -> Path:
    """The settings of the documents of this machine. Made anew each time: what runs decides."""
    file = folder / "facility.toml"
    sections = ["ssh", "host", *(["batch"] if batch else [])]
    text = f'sections = {sections!r}\ncluster = "{_word(cluster)}"\nevery_seconds = 60\n'.replace("'", '"')
    text += f'spool = {{ path = "{folder}/facility.spool" }}\n'
    if batch:
        text += f'[batch]\nsystem = "{batch}"\nqueues = [{{ name = "all" }}]\n'
    file.write_text("# Made by `jobmeter up` at every start.\n" + text, encoding="utf-8")
    return file


def _word(text: str) -> str:
    """The text as it may stand between quotes."""
    return "".join(letter for letter in text if letter.isalnum() or letter in "._-") or "here"

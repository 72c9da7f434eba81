"""`jobmeter access`: carry AUDITOR's access rules over into settings of our own."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from jobmeter.serve.access import CertificateGrant
from jobmeter.serve.casbin import imported, model_faults, parse_policy

SUMMARY: str = "carries AUDITOR's access rules (casbin's model and policy) over into settings"

FAILED = 1
WRONG_USE = 2


def declare(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="import")
    carry = doing.add_parser("import", help="print the section [access] that says what a casbin policy says")
    carry.add_argument("policy", metavar="POLICY", type=Path, help="AUDITOR's policy.csv")
    carry.add_argument("--model", metavar="MODEL", type=Path, help="its model.conf, to make sure that it is AUDITOR's")


def execute(arguments: argparse.Namespace) -> int:
    """0: all is carried over, 1: something is not (said on standard error), 2: a file cannot be used."""
    try:
        model = None if arguments.model is None else arguments.model.read_text(encoding="utf-8")
        text = arguments.policy.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        sys.stderr.write(f"jobmeter access: {fault}\n")
        return WRONG_USE
    wrong = [] if model is None else model_faults(model)
    for sentence in wrong:
        sys.stderr.write(f"jobmeter access: {arguments.model}: {sentence}\n")
    if wrong:
        return WRONG_USE
    found = imported(parse_policy(text))
    for sentence in found.faults:
        sys.stderr.write(f"jobmeter access: {arguments.policy}: {sentence}\n")
    sys.stdout.write("[access]\nrequired = true\n")
    sys.stdout.writelines(_table(grant) for grant in found.grants)
    return FAILED if found.faults else 0


def _table(grant: CertificateGrant) -> str:
    """The grant as TOML, whose basic strings are those of JSON."""
    lines = [
        "",
        "[[access.certificates]]",
        f"common_name = {_text(grant.common_name)}",
        f"roles = {_text(grant.roles)}",
    ]
    if grant.meta:
        inner = ", ".join(f"{_text(key)} = {_text(values)}" for key, values in grant.meta.items())
        lines.append(f"meta = {{ {inner} }}")
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return json.dumps(value).replace("\x7f", "\\u007f")

"""Ours beside the real `python-auditor`: the same calls give the same values, texts and kinds of exceptions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.clients.client import NEW, REPOSITORY, installed

CALLS = Path(__file__).with_name("surface_calls.py")


def told(**environment: str) -> dict[str, list[str]]:
    ended = subprocess.run(
        [sys.executable, str(CALLS)], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


def test_the_same_calls_give_the_same_outcomes() -> None:
    real = told(PYTHONPATH=str(installed(NEW)), PYAUDITOR="pyauditor")
    ours = told(PYTHONPATH=str(REPOSITORY / "src"), PYAUDITOR="jobmeter.client.pyauditor")
    assert len(real) > 60
    # A single string was right before 0.10 and is taken still.
    assert real.pop("meta of a string") == ["TypeError"]
    assert ours.pop("meta of a string") == ["value", "'meta[g][c][0]=x'"]
    assert ours == real


def test_every_name_and_method_is_there() -> None:
    names = (
        "print(json.dumps({n: sorted(m for m in dir(getattr(p, n)) if m[0] != '_') for n in dir(p) if n[0].isupper()}))"
    )
    code = f"import json, os, importlib; p = importlib.import_module(os.environ['PYAUDITOR']); {names}"

    def surface(**environment: str) -> dict[str, list[str]]:
        ended = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
        )
        found: dict[str, list[str]] = json.loads(ended.stdout)
        return found

    real = surface(PYTHONPATH=str(installed(NEW)), PYAUDITOR="pyauditor")
    ours = surface(PYTHONPATH=str(REPOSITORY / "src"), PYAUDITOR="jobmeter.client.pyauditor")
    assert len(real) == 15
    for name, methods in real.items():
        assert set(methods) <= set(ours[name]), name

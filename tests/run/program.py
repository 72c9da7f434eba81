"""The program as a user starts it, with commands of the test's own beside those that there are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import jobmeter
from tests.process import PATIENCE_SECONDS

SOURCE = Path(jobmeter.__file__).parent


class Program:
    """A copy of the package in `folder`, to which commands can be added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SOURCE, folder / "jobmeter", ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, name: str, code: str) -> None:
        """A command whose `execute` runs `code`; the file stands among the real ones."""
        body = "\n".join(f"    {line}" for line in code.splitlines())
        (self.folder / "jobmeter" / "run" / "commands" / f"{name}.py").write_text(
            f"import sys\nSUMMARY: str = 'ignored'\nSUMMARY: str = \"tests {name}\"\n"
            f"def declare(parser):\n    parser.add_argument('words', nargs='*')\n"
            f"    parser.add_argument('--as-auditor', action='append_const', dest='flags', const='--as-auditor')\n"
            f"def execute(arguments):\n{body}\n    return 0\n"
        )

    def start(self, *words: str, module: str = "jobmeter", shell: str | None = None) -> subprocess.Popen[str]:
        """The running program; standard output and error are pipes."""
        command = [sys.executable, "-m", module, *words] if shell is None else ["bash", "-c", shell]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(self.folder), "PATH": "/usr/bin:/bin"},
        )

    def run(self, *words: str, shell: str | None = None) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        with self.start(*words, shell=shell) as process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
            return process.returncode, out, err

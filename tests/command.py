"""Commands in processes of their own.

Importing the libraries takes most of a short command's time; so there is a server that imported them once, which forks
a process for each command. How a command fares that has to import them is tested by the apps and by `run_module`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests import ROOT
from tests.waiting import PATIENCE_S

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["trainer.engine.imports.run", "trainer.engine.run", "inference.engine"])


def run_command(package: str, *arguments: object, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """What `python -m PACKAGE ARGUMENTS` does in the checkout."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / "stdout", Path(folder) / "stderr"]
        process = _FORKS.Process(target=_become, args=(package, words, said, dict(os.environ)))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([package, *words], timeout_s)
        stdout, stderr = (file.read_text(encoding="utf-8") for file in said)
    return subprocess.CompletedProcess([package, *words], process.exitcode, stdout, stderr)


def run_module(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python -m WORDS` does in the checkout, told this environment besides."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def _become(package: str, arguments: list[str], said: list[Path], environment: Mapping[str, str]) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(said, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [package, *arguments]
    sys.exit(importlib.import_module(f"{package}.__main__").main())

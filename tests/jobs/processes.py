"""Parts of the app as processes of their own, as app.py starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from jobs.hub.tokens import PUBLISHING_TOKENS, TRAINING_TOKENS, token_socket
from tests import ROOT
from tests.hub.local_hub import LocalHub
from tests.waiting import wait_until
from trainer.settings import Settings


@contextmanager
def jobs_process(
    part: str, home: Path, *, program: Sequence[str] = (), **environment: str
) -> Generator[subprocess.Popen[bytes]]:
    """`python -m jobs PART` over a data root, with PART.log there; killed at the end if it still runs.

    `program`: what Python is to run in its place.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{part}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "jobs", part))],
            cwd=ROOT,
            env={**os.environ, "STUDIO_HOME": str(home), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def supervisor(home: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A supervisor of the CPU."""
    return jobs_process("worker", home)


@contextmanager
def publisher(settings: Settings, hub: LocalHub, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """A publisher, pointed at the local Hub, that takes tokens already."""
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    environment = {**hub.environment(settings.home / "hf"), **environment}
    with jobs_process("publisher", settings.home, **environment) as process:
        wait_until(lambda: _takes_tokens(settings, PUBLISHING_TOKENS))
        yield process


@contextmanager
def follower(settings: Settings, hub: LocalHub, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    """The process that sends jobs to Hugging Face and follows them, and takes tokens already."""
    settings.runtime_dir.mkdir(parents=True, exist_ok=True)
    environment = {**hub.environment(settings.home / "hf"), "STUDIO_JOBS_IMAGE": "an/image", **environment}
    with jobs_process("remote", settings.home, **environment) as process:
        wait_until(lambda: _takes_tokens(settings, TRAINING_TOKENS))
        yield process


def _takes_tokens(settings: Settings, name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(token_socket(settings.runtime_dir, name))) == 0

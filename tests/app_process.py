"""The whole app as a person runs it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import psutil

from tests import ROOT
from tests.waiting import PATIENCE_S

_PARTS = {
    "page": "app.py",
    "supervisor": "jobs worker",
    "generator": "inference.generator",
    "child": "trainer resume",
    "publisher": "jobs publisher",
    "mirror": "jobs mirror",
    "treasurer": "jobs treasurer",
    "remote": "jobs remote",
}


def _free_port() -> int:
    """One that no other test is given meanwhile: the system gives others above 32767 to whoever asks for any."""
    for port in random.sample(range(20_000, 32_768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are taken")


class App:
    """`python app.py` over a data root of its own; by default this checkout's, with this Python."""

    running: ClassVar[set[App]] = set()
    """Those whose logs a failed test shows."""

    def __init__(self, home: Path, *, python: Path | None = None, root: Path = ROOT, **environment: str) -> None:
        self.home, self._python, self._root = home, str(python or sys.executable), root
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._environment = {
            **os.environ,
            "STUDIO_HOME": str(home),
            "TMPDIR": str(home / "tmp"),  # gradio serves what lies there; a data root is elsewhere
            "GRADIO_SERVER_PORT": str(self.port),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home / "app.log"

    def start(self) -> float:
        """Start it; returns the seconds until the page answered."""
        began = time.monotonic()
        self.running.add(self)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._python, "app.py"], cwd=self._root, env=self._environment, stdout=log, stderr=log
            )
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < PATIENCE_S
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.monotonic() - began
            time.sleep(0.05)

    def processes(self) -> dict[str, psutil.Process]:
        """Every live process over this data root, by its part, as `_PARTS` names them.

        Orphans count too: they are known by their environment, whoever their parent is by now.
        """
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                part = next((part for part, words in _PARTS.items() if words in command), None)
                if part and process.environ().get("STUDIO_HOME") == str(self.home):
                    found[part] = process
        return found

    def stop(self) -> None:
        """SIGTERM, as a Space does it; whatever is left after the grace period is killed and counted as a failure."""
        self.running.discard(self)
        if self.process is None or self.process.poll() is not None:
            return
        family = list(self.processes().values())
        self.process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=40)
        self.process.wait(1)
        for process in left:
            process.kill()
        assert not left, left
        # gradio itself looks for a package of a Space's image when it is told that it runs in one
        failures = [tail for tail in self.log.read_text().split("Traceback")[1:] if "hot-reloading" not in tail]
        assert failures == []

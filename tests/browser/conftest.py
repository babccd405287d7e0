"""The whole app as a person runs it, and real Chromium in front of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"


class App:
    """`python app.py` over a data root of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "STUDIO_HOME": str(home),
            "GRADIO_SERVER_PORT": str(self.port),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start it; returns the seconds until the page answered."""
        began = time.monotonic()
        with (self.home / "app.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        while True:
            assert self.process.poll() is None, (self.home / "app.log").read_text()
            assert time.monotonic() - began < 60
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.monotonic() - began
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """The app and everything that it started."""
        if self.process is None or not psutil.pid_exists(self.process.pid):
            return []
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def kill(self) -> None:
        """kill -9 of the page alone; its children must notice by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as a Space does it; whatever is left after the grace period is killed and counted as a failure."""
        if self.process is None or self.process.poll() is not None:
            return
        family = self.processes()
        self.process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=40)
        self.process.wait(1)
        for process in left:
            process.kill()
        assert not left, left


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Makes apps that are stopped at the end."""
    made: list[App] = []

    def make(name: str = "home", **environment: str) -> App:
        made.append(App(tmp_path / name, **environment))
        return made[-1]

    yield make
    for app in made:
        app.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed; `make setup` installs it as root on Debian and Ubuntu")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", *sandbox])
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a browser profile of its own; errors in their consoles fail the test."""
    errors: list[str] = []

    def open_page(url: str, *, width: int = 1280, height: int = 900) -> Page:
        page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#photos-upload")
        return page

    yield open_page
    for context in chromium.contexts:
        context.close()
    assert errors == []

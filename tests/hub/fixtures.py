"""One Hub for all tests that want it, fresh for each, and the real client in this process, pointed at it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from tests import ROOT
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.waiting import PATIENCE_S

Client = Callable[[str | None], HfApi]


@pytest.fixture(scope="session")
def hub_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
        assert "Traceback" not in hub.log(), hub.log()


@pytest.fixture
def hub(hub_process: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """A Hub where nothing has happened yet, to which the library's clients in this process go; files go through LFS.

    The library reads its environment when it is imported, which has happened long ago: so what it read is changed.
    """
    hub_process.reset()
    monkeypatch.setattr(constants, "ENDPOINT", hub_process.url)
    template = hub_process.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return hub_process


@pytest.fixture
def client(hub: LocalHub) -> Client:
    """Makes real clients of the Hub, for a token or for nobody."""

    def make(token: str | None) -> HfApi:
        return HfApi(endpoint=hub.url, token=token or False)

    return make


def run_trip(trip: str, hub: LocalHub, folder: Path, *, xet: bool, **more: str) -> None:
    """Run a round trip as a process of alice; what it prints is shown where it fails."""
    environment = {**os.environ, **hub.environment(folder / "home", token=ALICE, xet=xet), **more}
    result = subprocess.run(
        [sys.executable, "-m", "tests.hub.round_trip", trip, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert result.returncode == 0, result.stdout + result.stderr + hub.log()

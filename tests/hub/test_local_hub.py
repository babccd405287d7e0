"""The Hub as a process: several at once, and none that outlives its test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import pytest

from tests import ROOT
from tests.hub.local_hub import LocalHub
from tests.waiting import has_ended, wait_until


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/whoami-v2").status_code == 401
    except httpx2.ConnectError:
        return False


def test_hubs_run_side_by_side_and_stop(hub: LocalHub, tmp_path: Path) -> None:
    with LocalHub(tmp_path / "hub") as other:
        assert other.url != hub.url
        assert answers(other.url)
    assert not answers(other.url)
    assert answers(hub.url)


def test_hub_ends_when_the_test_run_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.hub.local_hub import LocalHub; "
        "hub = LocalHub(Path(sys.argv[1])); print(hub.url, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        (server,) = psutil.Process(run.pid).children()
        assert answers(url)
        run.kill()
    wait_until(lambda: has_ended(server.pid))


@pytest.mark.parametrize("xet", [True, False])
def test_environment_leads_clients_to_this_hub_and_nowhere_else(hub: LocalHub, tmp_path: Path, xet: bool) -> None:
    variables = hub.environment(tmp_path, token="hf_x", xet=xet)
    assert variables["HF_ENDPOINT"] == hub.url
    assert variables["HF_HOME"] == str(tmp_path)
    assert variables["HF_HUB_DISABLE_XET"] == ("0" if xet else "1")
    assert variables["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert variables["HF_TOKEN"] == "hf_x"
    assert "HF_TOKEN" not in hub.environment(tmp_path)

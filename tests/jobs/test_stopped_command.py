"""A person's command that is stopped ends as all others do: with one line, and an exit code that says so."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_command_says_so_in_one_line(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["jobs", "list"])
    monkeypatch.delitem(sys.modules, "jobs.__main__", raising=False)  # another test may have imported it
    monkeypatch.setattr("jobs.commands.open_service", lambda _settings: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("jobs", run_name="__main__")
    assert ended.value.code == 3
    assert capsys.readouterr().err == "Stopped.\n"

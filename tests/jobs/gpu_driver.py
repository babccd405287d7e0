"""A GPU that the driver reports and PyTorch cannot use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPORTS = "0, GPU-12345678, NVIDIA H200"
Driver = Callable[[str], None]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Makes nvidia-smi report these lines."""
    torch = pytest.importorskip("torch")
    if torch.version.cuda is not None:
        pytest.skip("this PyTorch is built with CUDA")
    place = tmp_path / "driver"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def report(lines: str) -> None:
        script = place / "nvidia-smi"
        script.write_text(f"#!/bin/sh\necho '{lines}'\n")
        script.chmod(0o755)

    return report

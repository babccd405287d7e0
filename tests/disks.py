"""Disks with a flaw: small ones, read-only ones, and ones that are not kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainer.settings import Settings


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A disk in memory at `folder`, mounted with these options; skips the test where only root may do that."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mirrored_settings(root: Path) -> Settings:
    """A data root under `root`, and an empty mirror beside it."""
    (root / "mirror").mkdir()
    return Settings(home=root / "home", mirror=root / "mirror")

"""When the mirror is proof enough that a result outlives this machine's disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from jobs.mirror.keeping import Keeping, MirrorStatus
from trainer.settings import Settings

WELL: dict[str, Any] = {"mirror_id": "m", "whole_at": 1000.0}


def keeping(tmp_path: Path, **status: Any) -> Keeping:
    found = Keeping(Settings(home=tmp_path / "home", mirror=tmp_path / "mirror"))
    found.report(MirrorStatus(**{"checked": time.time(), **status}))
    return found


def test_look_through_all_jobs_that_began_since_is_proof(tmp_path: Path) -> None:
    assert keeping(tmp_path, **WELL).kept_until() > 999.0
    assert keeping(tmp_path, **WELL).kept_until() <= 1001.0
    assert keeping(tmp_path, **WELL, last_copy=1002.0).kept_until() <= 1001.0  # it may have been another job's


@pytest.mark.parametrize(
    "status",
    [{"behind": 1}, {"trouble": "The mirror is full."}, {"restoring": True}, {"checked": 5.0}, {"whole_at": None}],
)
def test_mirror_that_is_not_well_is_no_proof(tmp_path: Path, status: dict[str, Any]) -> None:
    assert keeping(tmp_path, **{**WELL, **status}).kept_until() <= 999.0


def test_machine_without_a_mirror_keeps_nothing(tmp_path: Path) -> None:
    assert Keeping(Settings(home=tmp_path)).kept_until() <= 0.0

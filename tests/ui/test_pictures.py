"""The history of pictures: how many are kept, and for how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ui import pictures
from ui.pictures import KEPT_DAYS, PictureHistory


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_KEPT", 2)
    (tmp_path / "anna").mkdir()
    for number in range(4):
        (tmp_path / "anna" / f"{number}.png").write_bytes(b"x")
    assert [picture.file.name for picture in PictureHistory(tmp_path).newest("anna", 5)] == ["3.png", "2.png"]
    assert sorted(file.name for file in (tmp_path / "anna").iterdir()) == ["2.png", "3.png"]


def test_old_ones_of_everybody_are_removed(tmp_path: Path) -> None:
    for owner, days in (("anna", 0), ("anna", KEPT_DAYS - 1), ("ben", KEPT_DAYS + 1)):
        file = tmp_path / owner / f"{days}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        made = time.time() - days * 24 * 3600
        os.utime(file, (made, made))
    PictureHistory(tmp_path).remove_old()
    assert sorted(file.name for file in tmp_path.rglob("*.png")) == ["0.png", f"{KEPT_DAYS - 1}.png"]

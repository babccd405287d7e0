"""What the page says of the disk: nothing at home, plain words on a Space, and how the mirror is doing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs.mirror.keeping import Keeping, MirrorStatus
from trainer.settings import Settings
from ui.keeping_notice import keeping_html


def said(settings: Settings, **status: object) -> str:
    """The notice for a state of the mirror."""
    keeping = Keeping(settings)
    if status:
        keeping.report(MirrorStatus.model_validate({"checked": time.time(), **status}))
    return " ".join(keeping_html(keeping).split())


@pytest.fixture
def mirrored(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", mirror=tmp_path / "mirror")


def test_own_machine_says_nothing(tmp_path: Path) -> None:
    assert said(Settings(home=tmp_path / "home")) == ""


def test_space_without_a_mirror_says_what_is_lost_and_how_to_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "alice/studio")
    notice = said(Settings(home=tmp_path / "home"))
    for words in ("Photos, queue and results", "restarts", "sleep", "published", "bucket at /data", "Settings"):
        assert words in notice


def test_mirror_says_when_it_copied_last(mirrored: Settings) -> None:
    words = said(mirrored, last_copy=time.time() - 200)
    assert f"kept in the mirror, {mirrored.mirror}" in words
    assert "Everything is copied." in words
    assert "The last copy was made 3 min 20 s ago." in words
    assert "less than a minute ago" in said(mirrored, last_copy=time.time())
    assert "last copy" not in said(mirrored, restored=1)


def test_mirror_says_what_it_is_at(mirrored: Settings) -> None:
    assert "1 job is being copied." in said(mirrored, behind=1)
    assert "3 jobs are being copied." in said(mirrored, behind=3)
    assert "brought back from the mirror, 2 so far." in said(mirrored, restoring=True, restored=2)
    assert "not whole" in said(mirrored, note="1 of the jobs in the mirror is not whole.")


def test_mirror_in_trouble_says_so_and_what_that_means(mirrored: Settings) -> None:
    words = said(mirrored, trouble="The mirror is full.", last_copy=time.time() - 200)
    assert "The mirror is full." in words
    assert "tried again by itself" in words
    assert "3 min 20 s ago" in words
    assert "does not answer" in said(mirrored, checked=time.time() - 1000)


def test_words_of_a_mirror_are_escaped(mirrored: Settings) -> None:
    assert "<b>" not in said(mirrored, trouble="<b>x</b>")

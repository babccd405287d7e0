"""Uploads under way, as who follows them sees them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from jobs.submission.drafts import Drafts
from jobs.submission.intake import Intake
from tests.waiting import PATIENCE_S
from trainer.errors import RequestError

OWNER = "anna"


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return Drafts(tmp_path / "drafts")


def upload(intake: Intake, draft: str, files: list[Path]) -> None:
    """Returns when it is over, whether or not anybody follows it."""
    over = threading.Event()
    intake.begin(OWNER, draft, files, finished=over.set)
    assert over.wait(PATIENCE_S)


def test_trouble_of_an_upload_is_told_once_to_who_follows_it(
    drafts: Drafts, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submission.drafts.MAX_FILES", 1)
    intake, draft = Intake(drafts), drafts.new_id()
    upload(intake, draft, sorted(photo_folder.glob("*.jpg"))[:2])
    with pytest.raises(RequestError, match="At most 1 files"):
        list(intake.follow(OWNER, draft))
    assert [left for _, left in intake.follow(OWNER, draft)] == [0]


def test_trouble_that_nobody_followed_is_not_told_of_the_next_upload(
    drafts: Drafts, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake, draft = Intake(drafts), drafts.new_id()
    photos = sorted(photo_folder.glob("*.jpg"))
    with monkeypatch.context() as few:
        few.setattr("jobs.submission.drafts.MAX_FILES", 1)
        upload(intake, draft, photos[:2])
    upload(intake, draft, photos[2:3])
    *_, (taken, left) = intake.follow(OWNER, draft)
    assert (len(taken.photos), left) == (2, 0)

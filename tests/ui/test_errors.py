"""What a person is told of an error, and no more than is true."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from trainer.errors import RequestError
from ui.errors import words_of
from ui.services import Services


@pytest.mark.fault(17)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_is_full_while_photos_come_is_said_with_what_to_do(
    services: Services, photo_folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def take(*_: object, **__: object) -> None:
        raise OSError(number, "No space left on device", "/data/drafts")

    monkeypatch.setattr("jobs.submission.drafts.take_photo", take)
    draft = services.drafts.new_id()
    services.intake.begin("anna", draft, sorted(photo_folder.glob("*.jpg")), finished=lambda: None)
    with pytest.raises(OSError, match="No space left") as raised:
        list(services.intake.follow("anna", draft))
    words = words_of(raised.value)
    assert words.startswith("The disk is full")
    assert "Delete what you no longer need" in words
    assert "/data" not in words


def test_what_is_not_ours_is_admitted_without_promises() -> None:
    words = words_of(OSError(errno.EIO, "Input/output error", "/data/drafts"))
    assert words.startswith("Something went wrong on our side")
    assert "lost" not in words
    assert words_of(RequestError("Write a prompt first.")) == "Write a prompt first."

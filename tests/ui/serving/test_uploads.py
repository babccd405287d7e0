"""Files that browsers send: shared by those who send the same, and gone soon after they were read."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from jobs.record.store import EVERYBODY, SINGLE_OWNER
from jobs.submission import drafts
from tests.engine.conftest import small_recipe
from tests.ui.visits import scope
from trainer.errors import RequestError
from trainer.photos.intake import take_folder
from ui.services import Services
from ui.serving.uploads import keep_uploads_in, release, remove_forgotten, remove_older
from ui.train.photos_panel import PhotosHandlers


def visitor(number: int) -> gr.Request:
    return gr.Request(Request(scope(cookie=f"{number:048x}")))


def test_two_people_send_the_same_photo(services: Services, photo_folder: Path, tmp_path: Path) -> None:
    shared = [Path(shutil.copy(photo, tmp_path)) for photo in sorted(photo_folder.iterdir())[:3]]
    handlers = PhotosHandlers(services)
    visitors = [visitor(number) for number in range(2)]
    drafts = [services.drafts.new_id() for _ in visitors]
    for draft, request in zip(drafts, visitors, strict=True):  # the second begins when the first has read them
        list(handlers.add([str(path) for path in shared], draft, request))
    for draft, request in zip(drafts, visitors, strict=True):
        assert len(services.drafts.read(services.owners.of(request), draft).usable) == 3


def test_page_says_how_many_photos_are_still_to_be_looked_at(
    services: Services, photo_folder: Path, tmp_path: Path
) -> None:
    photos = [shutil.copy(photo, tmp_path) for photo in sorted(photo_folder.glob("*.jpg"))[:3]]
    draft = services.drafts.new_id()
    shown = [html for *_, html in PhotosHandlers(services).add([*map(str, photos)], draft, visitor(0))]
    assert [[f"{left} to go" in html for left in (3, 2, 1)] for html in shown[:3]] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert "to go" not in shown[-1]
    assert "Ready." in shown[-1] or "Usable." in shown[-1]


def test_photos_of_a_page_that_is_gone_are_taken_in_and_the_next_page_follows(
    services: Services, photo_folder: Path, tmp_path: Path
) -> None:
    """A phone locked its screen while it sent them."""
    photos = [shutil.copy(photo, tmp_path) for photo in sorted(photo_folder.glob("*.jpg"))[:4]]
    (tmp_path / f"{Path(photos[3]).stem}.txt").write_text("a red mug")
    handlers, draft = PhotosHandlers(services), services.drafts.new_id()
    sending = handlers.add([*photos, str(tmp_path / f"{Path(photos[3]).stem}.txt")], draft, visitor(0))
    next(sending)
    sending.close()
    *_, (_, shown) = handlers.restore(draft, "", visitor(0))
    assert "to go" not in shown
    taken = services.drafts.read(services.owners.of(visitor(0)), draft).usable
    assert [photo.source for photo in taken] == [Path(photo).name for photo in photos]
    assert taken[3].caption == "a red mug"


def test_upload_that_fails_is_said_and_the_page_does_not_wait_for_it(
    services: Services, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "MAX_FILES", 2)
    photos = [shutil.copy(photo, tmp_path) for photo in sorted(photo_folder.glob("*.jpg"))[:4]]
    handlers, draft = PhotosHandlers(services), services.drafts.new_id()
    with pytest.raises(RequestError, match="At most 2 files"):
        list(handlers.add(photos, draft, visitor(0)))
    *_, (_, after) = handlers.restore(draft, "", visitor(0))
    assert "to go" not in after
    assert len(services.drafts.read(services.owners.of(visitor(0)), draft).usable) == 2


def test_draft_that_became_a_job_takes_no_more_photos(
    services: Services, tiny_model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    """The answer to the press was lost on its way, or another window pressed."""
    handlers, request = PhotosHandlers(services), visitor(0)
    draft = services.drafts.new_id()
    recipe = small_recipe(tiny_model, "textual-inversion")
    owner = services.owners.of(request)
    services.jobs.submitting.submit(owner, recipe, lambda folder: take_folder(photo_folder, folder), press_id=draft)
    assert next(handlers.restore(draft, "", request))[0] != draft
    photo = shutil.copy(next(photo_folder.glob("*.jpg")), tmp_path)
    *_, (_, following, own, _) = handlers.add([str(photo)], draft, request)
    assert following == own != draft
    assert len(services.drafts.read(owner, following).usable) == 1


def test_whoever_is_alone_on_a_machine_has_what_its_browsers_left(
    services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    """It was served to many browsers, and then with STUDIO_OWNERS=single."""
    recipe = small_recipe(tiny_model, "textual-inversion")
    jobs = [
        services.jobs.submitting.submit(owner, recipe, lambda f: take_folder(photo_folder, f))
        for owner in ("a", EVERYBODY)
    ]
    draft = services.drafts.new_id()
    photo = next(photo_folder.glob("*.jpg"))
    services.drafts.add("b", draft, photo, source="mug.jpg")
    services.adopt_everything(SINGLE_OWNER)
    assert {view.job.id for view in services.jobs.views(SINGLE_OWNER)} == {job.id for job in jobs}
    assert services.jobs.owner_of(jobs[1].id) == EVERYBODY
    assert len(services.drafts.read(SINGLE_OWNER, draft).usable) == 1


def test_upload_is_removed_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"pixels")
    started: list[threading.Timer] = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: started.append(timer))
    release([photo, tmp_path / "gone.jpg"])
    assert photo.exists()
    (timer,) = started
    os.utime(photo, times=(time.time() - timer.interval,) * 2)
    timer.function(*timer.args)
    assert not photo.exists()


def test_upload_that_was_sent_again_meanwhile_stays(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"pixels")
    remove_older([photo], 30)
    assert photo.exists()


def test_what_an_earlier_page_left_goes_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # so that it is put back to what it was
    monkeypatch.delenv("GRADIO_TEMP_DIR")
    old, new = tmp_path / "0a" / "old.jpg", tmp_path / "0b" / "new.jpg"
    for file in (old, new):
        file.parent.mkdir()
        file.write_bytes(b"pixels")
    os.utime(old, times=(time.time() - 7200,) * 2)
    keep_uploads_in(tmp_path)
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
    assert not old.parent.exists()
    assert new.exists()


def test_folders_of_removed_uploads_go_after_a_while(tmp_path: Path) -> None:
    kept, emptied, fresh = (tmp_path / name for name in ("kept", "emptied", "fresh"))
    for folder in (kept, emptied, fresh):
        folder.mkdir()
    (kept / "photo.jpg").write_bytes(b"x")
    an_hour_ago = time.time() - 3700
    for folder in (kept, emptied):
        os.utime(folder, (an_hour_ago, an_hour_ago))
    remove_forgotten(tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == {"kept", "fresh"}

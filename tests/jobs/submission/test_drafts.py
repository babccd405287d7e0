"""Photos that were uploaded but not sent to train yet."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.submission import drafts as drafts_module
from jobs.submission.drafts import Drafts
from tests.waiting import PATIENCE_S, wait_until
from trainer.errors import RequestError
from trainer.photos.crop import Crop
from trainer.photos.intake import Photo, PhotoSet, cropped, take_folder, take_photo

DRAFT = "0" * 16


def test_draft_takes_keeps_and_forgets_photos(tmp_path: Path, photo_folder: Path) -> None:
    drafts = Drafts(tmp_path / "drafts")
    draft = drafts.new_id()
    files = sorted(photo_folder.glob("*.jpg"))
    for file in [*files, files[0]]:
        photos = drafts.add("anna", draft, file, source=file.name)
    assert [p.duplicate for p in photos.photos] == [False] * len(files) + [True]
    assert drafts.read("anna", draft) == photos
    twin = photos.photos[-1]
    photos = drafts.remove("anna", draft, twin.source, twin.file)
    assert not any(p.duplicate for p in photos.photos)
    copied = drafts.copy_to("anna", draft, tmp_path / "run" / "photos")
    assert len(copied.usable) == len(files)
    assert len(list((tmp_path / "run" / "photos").glob("*.jpg"))) == len(files)
    assert drafts.read("eve", draft) == PhotoSet(())
    drafts.discard("anna", draft)
    assert drafts.read("anna", draft) == PhotoSet(())


def test_draft_that_nobody_touched_for_a_day_is_removed(tmp_path: Path, photo_folder: Path) -> None:
    drafts, file = Drafts(tmp_path), next(photo_folder.glob("*.jpg"))
    old, new = drafts.new_id(), drafts.new_id()
    kept = drafts.add("anna", new, file, source=file.name)
    drafts.add("anna", old, file, source=file.name)
    yesterday = time.time() - 25 * 3600
    os.utime(drafts.folder("anna", old), (yesterday, yesterday))
    drafts.remove_old()
    assert not drafts.folder("anna", old).exists()
    assert drafts.read("anna", new) == kept


def test_draft_is_not_copied_while_more_photos_are_on_their_way(tmp_path: Path, photo_folder: Path) -> None:
    drafts, file = Drafts(tmp_path), next(photo_folder.glob("*.jpg"))
    draft = drafts.new_id()
    with drafts.taking("anna", draft):
        drafts.add("anna", draft, file, source=file.name)
        with pytest.raises(RequestError, match="still being looked at"):
            drafts.copy_to("anna", draft, tmp_path / "early")
    assert len(drafts.copy_to("anna", draft, tmp_path / "late").usable) == 1


def test_draft_of_a_jobs_photos_is_new_and_has_thumbnails(tmp_path: Path, photo_folder: Path) -> None:
    take_folder(photo_folder, tmp_path / "run")  # as the command line and the first example do it: no thumbnails
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / "run", (yesterday, yesterday))
    drafts = Drafts(tmp_path / "drafts")
    draft = drafts.begin_with("anna", tmp_path / "run")
    drafts.remove_old()
    photos = drafts.read("anna", draft).usable
    assert len(photos) == 5
    assert all((drafts.folder("anna", draft) / "thumbs" / (photo.file or "")).is_file() for photo in photos)


def test_chosen_square_is_shown_and_trained_on(tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 300), "blue")
    picture.paste("red", (100, 100, 200, 200))
    picture.save(tmp_path / "x.png")
    drafts = Drafts(tmp_path / "drafts")
    (photo,) = drafts.add("anna", DRAFT, tmp_path / "x.png", source="x.png").photos
    chosen = Crop(110, 110, 80)
    (again,) = drafts.crop("anna", DRAFT, "0001.jpg", chosen).photos
    assert again == replace(photo, crop=chosen)
    with Image.open(drafts.folder("anna", DRAFT) / "thumbs" / "0001.jpg") as thumbnail:
        assert min(np.asarray(thumbnail)[..., 0].flat) > 200  # nothing but red
    copied = drafts.copy_to("anna", DRAFT, tmp_path / "run")
    assert copied.usable[0].crop == chosen
    assert cropped(tmp_path / "run", copied.usable[0]).size == (80, 80)
    assert drafts.crop("anna", DRAFT, "0001.jpg", None).photos == (photo,)


@pytest.mark.parametrize(
    "square",
    [Crop(-1, 0, 100), Crop(0, -1, 100), Crop(301, 0, 100), Crop(0, 201, 100), Crop(0, 0, 301), Crop(0, 0, 63)],
)
def test_square_outside_of_the_photo_or_too_small_is_refused(tmp_path: Path, square: Crop) -> None:
    Image.new("RGB", (400, 300), "blue").save(tmp_path / "x.png")
    drafts = Drafts(tmp_path / "drafts")
    before = drafts.add("anna", DRAFT, tmp_path / "x.png", source="x.png")
    with pytest.raises(RequestError, match="inside the photo"):
        drafts.crop("anna", DRAFT, "0001.jpg", square)
    with pytest.raises(RequestError, match="not here any more"):
        drafts.crop("anna", DRAFT, "0002.jpg", Crop(0, 0, 100))
    assert drafts.read("anna", DRAFT) == before


@pytest.mark.parametrize("draft", ["", "..", "../../etc", "x" * 16, "0" * 17, "0123456789abcde/"])
def test_draft_ids_are_never_paths(tmp_path: Path, draft: str) -> None:
    with pytest.raises(RequestError):
        Drafts(tmp_path).read("anna", draft)


def test_refused_files_stay_in_the_draft_with_their_reason(tmp_path: Path) -> None:
    drafts = Drafts(tmp_path)
    (tmp_path / "x.jpg").write_text("no photo")
    photos = drafts.add("anna", "0" * 16, tmp_path / "x.jpg", source="x.jpg")
    assert photos.photos[0].file is None
    Image.new("RGB", (400, 400), "red").save(tmp_path / "y.png")
    assert len(drafts.add("anna", "0" * 16, tmp_path / "y.png", source="y.png").usable) == 1


def test_photo_that_is_removed_while_others_come_in_stays_removed(
    tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = Drafts(tmp_path / "drafts")
    first, second = sorted(photo_folder.glob("*.jpg"))[:2]
    (there,) = drafts.add("anna", DRAFT, first, source="first").photos
    taking, go_on = threading.Event(), threading.Event()

    def slowly(*args: Any, **options: Any) -> Photo:
        taking.set()
        assert go_on.wait(PATIENCE_S)
        return take_photo(*args, **options)

    monkeypatch.setattr(drafts_module, "take_photo", slowly)
    adding = threading.Thread(target=drafts.add, args=("anna", DRAFT, second), kwargs={"source": "second"})
    removing = threading.Thread(target=drafts.remove, args=("anna", DRAFT, "first", there.file))
    adding.start()
    assert taking.wait(PATIENCE_S)
    removing.start()
    wants = drafts._locks._wanted
    wait_until(lambda: wants[drafts.folder("anna", DRAFT)] == 2 or not removing.is_alive())
    go_on.set()
    adding.join()
    removing.join()
    assert [photo.source for photo in drafts.read("anna", DRAFT).photos] == ["second"]
    assert len(drafts.copy_to("anna", DRAFT, tmp_path / "run").usable) == 1


def test_two_windows_add_to_one_draft(tmp_path: Path, photo_folder: Path) -> None:
    drafts = Drafts(tmp_path)
    files = sorted(photo_folder.glob("*.jpg"))[:4]
    threads = [threading.Thread(target=drafts.add, args=("anna", DRAFT, f), kwargs={"source": f.name}) for f in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    photos = drafts.read("anna", DRAFT).photos
    assert {photo.source for photo in photos} == {file.name for file in files}
    assert len({photo.file for photo in photos}) == len(files)


@pytest.mark.parametrize("newer", ["browser", "person"])
def test_of_two_drafts_with_one_id_the_newer_one_is_kept(tmp_path: Path, photo_folder: Path, newer: str) -> None:
    """Signed in, signed out and in again, with the same page open all the while."""
    drafts = Drafts(tmp_path)
    photo = next(photo_folder.glob("*.jpg"))
    for owner in ("browser", "person"):
        drafts.add(owner, DRAFT, photo, source=owner)
        long_ago = time.time() - (0 if owner == newer else 60)
        os.utime(drafts.folder(owner, DRAFT), (long_ago, long_ago))
    drafts.adopt("browser", "person")
    assert [photo.source for photo in drafts.read("person", DRAFT).photos] == [newer]
    assert drafts.read("browser", DRAFT) == PhotoSet(())
    drafts.adopt("browser", "person")


def test_draft_that_photos_are_on_their_way_into_is_adopted_whole_and_later(tmp_path: Path, photo_folder: Path) -> None:
    """Its owner signs in while the second half is looked at."""
    drafts = Drafts(tmp_path)
    first, second = sorted(photo_folder.glob("*.jpg"))[:2]
    with drafts.taking("browser", DRAFT):
        drafts.add("browser", DRAFT, first, source="first")
        drafts.adopt("browser", "person")
        drafts.add("browser", DRAFT, second, source="second")
    drafts.adopt("browser", "person")
    assert [photo.source for photo in drafts.read("person", DRAFT).photos] == ["first", "second"]
    assert drafts.read("browser", DRAFT) == PhotoSet(())


def test_caption_that_comes_after_its_photo_is_put_to_it(tmp_path: Path, photo_folder: Path) -> None:
    drafts = Drafts(tmp_path)
    first, second = sorted(photo_folder.glob("*.jpg"))[:2]
    drafts.add("anna", DRAFT, first, source="one.jpg", caption="with a caption")
    drafts.add("anna", DRAFT, second, source="two.jpg")
    photos = drafts.caption("anna", DRAFT, {"one": "too late", "two": "on a table", "three": "of nothing"})
    assert [photo.caption for photo in photos.photos] == ["with a caption", "on a table"]
    assert drafts.read("anna", DRAFT) == photos


def test_owner_who_has_nothing_any_more_leaves_nothing(tmp_path: Path, photo_folder: Path) -> None:
    drafts, file = Drafts(tmp_path), next(photo_folder.glob("*.jpg"))
    gone, came = drafts.new_id(), drafts.new_id()
    with drafts.taking("anna", gone):
        drafts.add("anna", gone, file, source=file.name)
    drafts.add("bert", came, file, source=file.name)
    drafts.discard("anna", gone)
    drafts.adopt("bert", "carol")
    drafts.remove_old()
    assert drafts.owners() == {"anna", "bert", "carol"}  # one who was here a moment ago may come back this moment
    yesterday = time.time() - 25 * 3600
    for owner in ("anna", "bert", "carol"):
        os.utime(tmp_path / owner, (yesterday, yesterday))
    drafts.remove_old()
    assert drafts.owners() == {"carol"}
    assert not drafts._taking
    assert not drafts._locks._locks

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.pictures import exif_with_gps, subject_picture, write_photos
from trainer.errors import RequestError
from trainer.photos.checkup import SetVerdict, Verdict, find_flaws, fingerprint, judge_set, looks_like
from trainer.photos.crop import find_crop
from trainer.photos.intake import (
    cropped,
    files_of_folder,
    mark_duplicates,
    read_caption,
    read_dataset,
    shown_name,
    take_folder,
    take_photo,
    write_thumbnail,
)


def test_crop_follows_a_subject_off_centre() -> None:
    for share, expected in [(0.2, 0.0), (0.8, 1.0)]:
        picture = subject_picture(3, (800, 400), centre=(share, 0.5))
        crop = find_crop(picture)
        assert crop.side == 400
        assert abs(crop.left / 400 - expected) < 0.35, share
        subject = share * 800
        assert crop.left < subject - 100 < subject + 100 < crop.left + crop.side + 60


def test_crop_of_a_square_is_the_square() -> None:
    assert find_crop(subject_picture(1, (300, 300))).box == (0, 0, 300, 300)


def test_crop_of_an_upright_photo_slides_down() -> None:
    crop = find_crop(subject_picture(3, (300, 900), centre=(0.5, 0.85)))
    assert crop.left == 0
    assert crop.top > 350


@pytest.mark.parametrize("size", [(9, 400), (400, 9), (1, 1), (2, 600)])
def test_crop_of_odd_shapes_stays_inside(size: tuple[int, int]) -> None:
    crop = find_crop(Image.new("RGB", size, "red"))
    assert 0 <= crop.left <= size[0] - crop.side
    assert 0 <= crop.top <= size[1] - crop.side


def test_blurred_small_dark_and_empty_photos_are_named() -> None:
    sharp = subject_picture(1, (600, 600))
    assert find_flaws(sharp) == []
    assert "blurred" in find_flaws(sharp.filter(ImageFilter.GaussianBlur(14)))[0]
    assert "small" in find_flaws(sharp.resize((100, 100)))[0]
    assert "dark" in " ".join(find_flaws(sharp.point(lambda v: v // 16)))
    assert "flat colour" in " ".join(find_flaws(Image.new("RGB", (400, 400), "red")))


def test_same_photo_in_another_size_looks_alike_and_another_does_not() -> None:
    one = subject_picture(1, (640, 480))
    assert looks_like(fingerprint(one), fingerprint(one.resize((320, 240))))
    assert not looks_like(fingerprint(one), fingerprint(subject_picture(5, (640, 480), centre=(0.2, 0.7))))


def test_different_things_on_white_are_no_copies_and_a_smaller_one_of_the_same_is() -> None:
    """As in a shop's catalogue: one flat white for the most part."""
    rng = np.random.default_rng(3)
    photos: list[Image.Image] = []
    for _ in range(12):
        photo = Image.new("RGB", (640, 640), "white")
        draw = ImageDraw.Draw(photo)
        for _ in range(5):
            left, top = (int(v) for v in rng.integers(180, 400, 2))
            width, height = (int(v) for v in rng.integers(60, 140, 2))
            draw.ellipse((left, top, left + width, top + height), fill=tuple(int(v) for v in rng.integers(0, 220, 3)))
        photos.append(photo)
    prints = [fingerprint(photo) for photo in photos]
    assert not any(looks_like(one, other) for one, other in itertools.combinations(prints, 2))
    for photo, known in zip(photos, prints, strict=True):
        encoded = io.BytesIO()
        photo.resize((420, 420)).save(encoded, "JPEG", quality=60)
        assert looks_like(fingerprint(Image.open(encoded)), known)


def test_folder_becomes_cleaned_photos_with_a_verdict_for_every_file(tmp_path: Path) -> None:
    source = write_photos(tmp_path / "in", 4)
    (source / "photo-9.jpg").write_bytes((source / "photo-1.jpg").read_bytes())
    (source / "note.jpg").write_text("not a photo")
    (source / ".hidden.jpg").write_text("hidden")
    (source / "photo-0.txt").write_text("a photo of <mug>\n on a table")
    os.mkfifo(source / "pipe.jpg")
    photo_set = take_folder(source, tmp_path / "out")
    by_name = {p.source: p for p in photo_set.photos}
    assert by_name.keys() == {
        "photo-0.jpg",
        "photo-1.jpg",
        "photo-2.jpg",
        "photo-3.jpg",
        "photo-9.jpg",
        "note.jpg",
        "pipe.jpg",
    }
    assert by_name["photo-0.jpg"].verdict is Verdict.ok
    assert by_name["photo-0.jpg"].caption == "a photo of <mug> on a table"
    assert by_name["photo-9.jpg"].duplicate
    assert by_name["photo-9.jpg"].reasons == ("looks the same as photo-1.jpg",)
    assert by_name["note.jpg"].verdict is by_name["pipe.jpg"].verdict is Verdict.refused
    assert photo_set.report.verdict is SetVerdict.could_be_better
    assert read_dataset(tmp_path / "out") == photo_set


@pytest.mark.fault(44, 45)
def test_stored_photos_have_own_names_and_no_metadata(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    subject_picture(1).save(source / "x\u202egpj.jpg", exif=exif_with_gps(1))
    photo = take_photo(source / "x\u202egpj.jpg", tmp_path / "out", number=7)
    assert photo.file == "0007.jpg"
    assert photo.source == "xgpj.jpg"
    stored = tmp_path / "out" / "0007.jpg"
    assert b"Secret Phone" not in stored.read_bytes()
    with Image.open(stored) as picture:
        assert not dict(picture.getexif())


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\CON", "CON"),
        ("a\x00b\n.jpg", "ab.jpg"),
        ("", "unnamed"),
        ("x" * 5000 + ".jpg", "x" * 60 + "…" + "x" * 12 + ".jpg"),
    ],
)
def test_names_are_made_safe_to_show(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_removing_the_original_clears_its_copy(tmp_path: Path) -> None:
    source = write_photos(tmp_path / "in", 1)
    one, two = (take_photo(source / "photo-0.jpg", tmp_path / "out", number=n) for n in (1, 2))
    marked = mark_duplicates([one, two]).photos
    assert [p.duplicate for p in marked] == [False, True]
    assert not mark_duplicates(marked[1:]).photos[0].duplicate
    assert mark_duplicates(marked).photos == marked


@pytest.mark.fault(41)
@pytest.mark.parametrize(("ok", "copies", "verdict"), [(0, 0, "not-usable"), (2, 0, "not-usable"), (3, 0, "ready")])
def test_a_set_needs_three_photos(ok: int, copies: int, verdict: str) -> None:
    assert judge_set([Verdict.ok] * ok, copies).verdict.value == verdict


@pytest.mark.fault(41)
def test_copies_do_not_count_and_too_many_are_too_many() -> None:
    assert judge_set([Verdict.ok, Verdict.ok, Verdict.warning], 1).verdict is SetVerdict.not_usable
    assert judge_set([Verdict.ok] * 201, 0).verdict is SetVerdict.not_usable
    assert judge_set([Verdict.ok] * 200, 0).verdict is SetVerdict.ready


def test_captions_beside_photos_are_not_photos(tmp_path: Path) -> None:
    source = write_photos(tmp_path, 1)
    (source / "photo-0.txt").write_text("words")
    (source / "lonely.txt").write_text("words")
    assert [f.name for f in files_of_folder(source)] == ["lonely.txt", "photo-0.jpg"]
    assert read_caption(source / "photo-0.jpg") == "words"
    (source / "photo-0.txt").unlink()
    (source / "photo-0.txt").symlink_to("/etc/hostname")
    assert read_caption(source / "photo-0.jpg") is None


def test_thumbnail_shows_the_crop(tmp_path: Path) -> None:
    source = write_photos(tmp_path / "in", 1, size=(900, 300))
    photo = take_photo(source / "photo-0.jpg", tmp_path / "out", number=1)
    write_thumbnail(tmp_path / "out", photo)
    with Image.open(tmp_path / "out" / "thumbs" / "0001.jpg") as picture:
        thumbnail = np.asarray(picture, dtype=int)
    square = np.asarray(cropped(tmp_path / "out", photo).resize((192, 192)), dtype=int)
    assert abs(thumbnail - square).mean() < 8


def test_damaged_dataset_is_said_to_be_unreadable(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"photos": [{"file": 3}]}))
    with pytest.raises(RequestError, match=r"dataset\.json"):
        read_dataset(tmp_path)


def test_missing_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not a folder"):
        take_folder(tmp_path / "gone", tmp_path / "out")

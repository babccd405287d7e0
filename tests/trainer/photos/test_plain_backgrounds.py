"""Subjects are found without a model, and stand on colours that have a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from trainer.photos import plain_backgrounds
from trainer.photos.colours import COLOURS, background_colour
from trainer.photos.intake import PhotoSet, take_folder
from trainer.photos.plain_backgrounds import cut_outs
from trainer.photos.subject_mask import WORKING_PX, place_weights, subject_mask

SIDE = 400


def rough(colour: tuple[int, int, int], seed: int) -> Image.Image:
    """A surface of about one colour, as walls and lawns are."""
    noise = np.random.default_rng(seed).normal(0, 30, (SIDE // 8, SIDE // 8, 3)) + colour
    small = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def with_mug(background: Image.Image, box: tuple[int, int, int, int], colour: str = "red") -> Image.Image:
    picture = background.copy()
    ImageDraw.Draw(picture).rounded_rectangle(box, 30, COLOURS[colour])
    return picture


def nothing() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (90, 140, 90))


def overlap(mask: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Intersection over union with a box of the picture."""
    left, top, right, bottom = (round(v * WORKING_PX / SIDE) for v in box)
    truth = np.zeros_like(mask)
    truth[top:bottom, left:right] = True
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("box", [(120, 100, 280, 330), (60, 150, 190, 340), (220, 60, 350, 200)])
@pytest.mark.parametrize("surface", [(70, 110, 60), (180, 170, 160), (60, 60, 90)])
def test_subject_is_found_where_it_is(box: tuple[int, int, int, int], surface: tuple[int, int, int]) -> None:
    picture = with_mug(rough(surface, seed=box[0]), box)
    mask = subject_mask(picture)
    assert mask is not None
    assert overlap(mask, box) > 0.8
    again = subject_mask(picture)
    assert again is not None
    assert (again == mask).all()


def test_one_colour_all_over_has_no_subject() -> None:
    assert subject_mask(nothing()) is None


def test_places_outside_of_the_subject_count_less_and_all_of_them_one_on_average() -> None:
    box = (120, 100, 280, 330)
    picture = with_mug(rough((180, 170, 160), 5), box)
    weights = place_weights(picture, 0.1, height=16, width=16)
    inside, outside = weights[8, 8], weights[1, 1]
    assert outside == pytest.approx(0.1 * inside)
    assert weights.mean() == pytest.approx(1)
    assert set(np.unique(weights)) == {inside, outside}
    for same in (place_weights(picture, 1.0, height=16, width=16), place_weights(nothing(), 0.1, height=16, width=16)):
        assert (same == 1).all()


@pytest.fixture
def taken(tmp_path: Path) -> tuple[Path, PhotoSet]:
    """Two photos of a red thing, one of them with a caption, and one that shows nothing."""
    source = tmp_path / "from"
    source.mkdir()
    with_mug(rough((70, 110, 60), 1), (120, 100, 280, 330)).save(source / "1.png")
    with_mug(rough((180, 170, 160), 2), (100, 120, 260, 330)).save(source / "2.png")
    (source / "2.txt").write_text("a red mug in the sea")
    Image.linear_gradient("L").convert("RGB").resize((SIDE, SIDE)).save(source / "3.png")
    return tmp_path / "photos", take_folder(source, tmp_path / "photos")


def test_subjects_stand_on_every_colour_but_their_own(taken: tuple[Path, PhotoSet]) -> None:
    folder, photos = taken
    only = PhotoSet(photos.photos[:2])
    found = list(cut_outs(folder, only, size_px=96))
    assert sorted(each.colour for each in found) == sorted(COLOURS.keys() - {"red"})  # of the photo without a caption
    for each in found:
        assert each.picture.size == (96, 96)
        assert background_colour(each.picture) == each.colour
        middle = each.picture.getpixel((48, 48))
        assert np.abs(np.subtract(middle, COLOURS["red"])).max() < 12


def test_many_photos_take_turns_with_the_colours(taken: tuple[Path, PhotoSet], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_backgrounds, "MOST", 12)
    folder, photos = taken
    found = list(cut_outs(folder, PhotoSet(photos.photos[:1] * 12), size_px=64))
    assert len(found) == 12
    assert len({each.colour for each in found}) == len(COLOURS) - 1

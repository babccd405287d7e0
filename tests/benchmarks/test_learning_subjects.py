"""What the learning benchmark learns: reproducible, varied, and never seen by the starter."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.benchmarks.learning.drawn_styles import DRAWN_STYLES
from tests.benchmarks.learning.exam import PLACEHOLDER, exam_of
from tests.benchmarks.learning.scenery import photograph
from tests.benchmarks.learning.subjects import (
    MORE_STYLES,
    MORE_SUBJECTS,
    STYLE_THINGS,
    STYLES,
    SUBJECTS,
    Subject,
    choose,
    read_subjects,
    write_photo_subjects,
    write_subject,
)
from tests.benchmarks.learning.torchvision_stand_in import CenterCrop, Normalize, RandomCrop, Resize, ToTensor
from trainer.photos.intake import take_folder
from trainer.recipe.choices import Kind
from trainer.starter.sources import load_things
from trainer.starter.textures import build_textures


@pytest.fixture(scope="module")
def sprite() -> np.ndarray:
    """A blue disc with a yellow stripe."""
    drawn = np.zeros((192, 192, 4), np.uint8)
    cv2.circle(drawn, (96, 96), 90, (30, 60, 220, 255), -1)
    cv2.rectangle(drawn, (60, 70), (132, 90), (250, 220, 40, 255), -1)
    return drawn


@pytest.fixture(scope="module")
def surfaces() -> np.ndarray:
    photo = np.random.default_rng(1).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    return build_textures(np.random.default_rng(2), [photo], 6)


def test_subjects_are_held_out_and_the_things_of_styles_are_taught() -> None:
    held_out = {thing.noun: thing.held_out for thing in load_things()}
    assert all(held_out[noun] for noun in (*SUBJECTS, *MORE_SUBJECTS))
    assert not any(held_out[noun] for noun in STYLE_THINGS)


def test_pictures_of_a_subject_are_reproducible_and_all_different(sprite: np.ndarray, surfaces: np.ndarray) -> None:
    def pictures() -> list[np.ndarray]:
        rng = np.random.default_rng(3)
        return [photograph(sprite, surfaces, rng, number=i, count=8) for i in range(8)]

    first, again = pictures(), pictures()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    differences = [np.abs(a.astype(int) - b).mean() for i, a in enumerate(first) for b in first[:i]]
    assert min(differences) > 10


def test_pictures_pass_the_photo_check_up(sprite: np.ndarray, surfaces: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made = [Image.fromarray(photograph(sprite, surfaces, rng, number=i, count=8)) for i in range(8)]
    subject = Subject("disc", "drawn", Kind.object, "object", tmp_path / "disc")
    write_subject(subject, made)
    assert len(take_folder(subject.train_folder, tmp_path / "taken").usable) == 4
    assert (len(subject.train()), len(subject.compare())) == (4, 4)


@pytest.mark.parametrize(("count", "trained"), [(4, 3), (5, 3), (6, 3), (7, 4), (10, 5)])
def test_half_of_the_pictures_rounded_up_and_at_least_three_are_trained_on(
    count: int, trained: int, tmp_path: Path
) -> None:
    subject = Subject("mug", "photo", Kind.object, "mug", tmp_path / "mug")
    write_subject(subject, [Image.new("RGB", (8, 8), (20 * i, 0, 0)) for i in range(count)])
    assert (len(subject.train()), len(subject.compare())) == (trained, count - trained)
    assert read_subjects(tmp_path)["mug"] == subject


def test_standard_and_full_run_choose_their_subjects() -> None:
    def of(name: str, group: str) -> Subject:
        return Subject(name.replace(" ", "-"), group, Kind.object, "object", Path(name))

    everything = [of(n, "drawn") for n in (*SUBJECTS, *MORE_SUBJECTS)] + [
        of(n, "style") for n in (*STYLES, *MORE_STYLES)
    ]
    assert len(choose(everything, full=False, photos=False)) == 8
    assert len(choose(everything, full=True, photos=False)) == 16


def test_real_photos_of_an_earlier_run_come_along_only_where_they_are_asked_for() -> None:
    kept = [Subject("photo-dog", "photo", Kind.pet, "dog", Path("dog"))]
    assert choose(kept, full=True, photos=False) == []
    assert choose(kept, full=False, photos=True) == kept


def test_real_photos_become_square_subjects_with_their_class_word(tmp_path: Path) -> None:
    for number in range(5):
        file = tmp_path / "photos" / "berry_bowl" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (640, 400), (40 * number, 90, 90)).save(file)
    write_photo_subjects(tmp_path / "photos", tmp_path / "subjects")
    subject = read_subjects(tmp_path / "subjects")["photo-berry-bowl"]
    assert (subject.group, subject.class_word, subject.kind) == ("photo", "bowl", Kind.object)
    assert {p.size for p in subject.train()} == {(512, 512)}
    write_photo_subjects(tmp_path / "photos", tmp_path / "subjects")
    Image.new("RGB", (640, 400), "white").save(tmp_path / "photos" / "berry_bowl" / "2.jpg")
    with pytest.raises(SystemExit, match="other pictures"):
        write_photo_subjects(tmp_path / "photos", tmp_path / "subjects")
    for number in (3, 4):
        (tmp_path / "photos" / "berry_bowl" / f"{number}.jpg").unlink()
    with pytest.raises(SystemExit, match="has 3 photos; 4 or more"):
        write_photo_subjects(tmp_path / "photos", tmp_path / "elsewhere")


@pytest.mark.parametrize("style", DRAWN_STYLES)
def test_styles_differ_from_each_other_and_keep_the_thing(style: str, sprite: np.ndarray) -> None:
    picture = DRAWN_STYLES[style](sprite, np.random.default_rng(4))
    assert picture.shape == (512, 512, 3)
    middle, corner = picture[156:356, 156:356].astype(float), picture[:80, :80].astype(float)
    assert np.abs(middle.mean((0, 1)) - corner.mean((0, 1))).max() > 8
    others = [DRAWN_STYLES[s](sprite, np.random.default_rng(4)) for s in DRAWN_STYLES if s != style]
    assert min(np.abs(picture.astype(int) - other).mean() for other in others) > 20


def test_exam_of_a_thing_asks_for_backgrounds_styles_and_company() -> None:
    exam = exam_of(Kind.object, "pot")
    prompts = [shot.prompt for shot in exam.shots]
    assert f"a photo of {PLACEHOLDER} next to a red apple" in prompts
    assert f"a 3d render of {PLACEHOLDER} on a purple background" in prompts
    assert f"a sticker of {PLACEHOLDER}" in prompts
    assert [shot.prompt for shot in exam.without] == ["a photo of a pot"]
    references = [option.reference.prompt for options in exam.questions.values() for option in options]
    assert all(PLACEHOLDER not in prompt and "a pot" in prompt for prompt in references)


def test_exam_of_a_style_asks_for_things_that_its_pictures_do_not_train() -> None:
    exam = exam_of(Kind.style, "", STYLE_THINGS[1::2])
    assert exam.own[0].prompt == f"a house in the style of {PLACEHOLDER}"
    assert not exam.backgrounds
    assert set(exam.questions) == {"thing"}


def test_stand_in_transforms_pictures_as_the_scripts_expect() -> None:
    picture = Image.fromarray(np.random.default_rng(5).integers(0, 255, (60, 90, 3)).astype(np.uint8))
    assert Resize(30)(picture).size == (45, 30)
    assert np.array_equal(np.asarray(CenterCrop(60)(picture)), np.asarray(picture)[:, 15:75])
    torch.manual_seed(0)
    assert RandomCrop(50)(picture).size == (50, 50)
    pixels = Normalize([0.5], [0.5])(ToTensor()(picture))
    assert pixels.shape == (3, 60, 90)
    assert float(pixels[0, 0, 0]) == pytest.approx(np.asarray(picture)[0, 0, 0] / 127.5 - 1, abs=1e-6)

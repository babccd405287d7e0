"""What is learnt in the benchmark: things and styles that the starter has never seen, and real photos.

Each is a folder of square pictures, `train` and `compare`, with a subject.json. Pictures of a drawn subject differ in
angle, bend, distance, place, side, light, background and in what hides a part of it; a style's show different things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tests.benchmarks.learning.drawn_styles import DRAWN_STYLES
from tests.benchmarks.learning.files import read_json, read_picture, write_json, write_picture
from tests.benchmarks.learning.photo_folders import read_photo_folders
from tests.benchmarks.learning.scenery import photograph
from trainer.recipe.choices import Kind
from trainer.starter.looks import Sprites

PICTURES = 8
MIN_TRAINED = 3
PICTURE_PX = 512
SUBJECTS = ("fox", "robot", "wizard", "teapot", "owl", "racing car")
MORE_SUBJECTS = ("panda", "astronaut", "cactus", "violin", "high heel", "unicorn")
STYLES = ("blueprint", "woodcut")
MORE_STYLES = ("halftone", "night print")
STYLE_THINGS = ("cat", "house", "car", "apple", "tree", "boat", "fish", "horse")
PHOTO_KINDS = {"cat": Kind.pet, "dog": Kind.pet}


@dataclass(frozen=True)
class Subject:
    """One thing to learn. `group` is drawn, style or photo: figures of one group are reported together."""

    name: str
    group: str
    kind: Kind
    class_word: str
    folder: Path
    things: tuple[str, ...] = ()
    """What the pictures to compare with show, where the subject is a style."""
    trained_things: tuple[str, ...] = ()
    """And what the others show."""

    @property
    def train_folder(self) -> Path:
        return self.folder / "train"

    def train(self) -> list[Image.Image]:
        return [read_picture(f) for f in sorted(self.train_folder.glob("*.png"))]

    def compare(self) -> list[Image.Image]:
        return [read_picture(f) for f in sorted((self.folder / "compare").glob("*.png"))]


def write_drawn_subjects(
    sprites: Sprites, held_out: dict[str, tuple[Kind, str]], surfaces: np.ndarray, to: Path
) -> None:
    """Every drawn subject and style of the full run; they are each other's strangers even where only some are learnt.

    `held_out` is noun -> (kind, class word); `surfaces` uint8 [n, side, side, 3].
    """
    for number, noun in enumerate((*SUBJECTS, *MORE_SUBJECTS)):
        kind, class_word = held_out[noun]
        rng = np.random.default_rng((11, number))
        sprite = sprites[noun]["3d render"][0]
        pictures = [photograph(sprite, surfaces, rng, number=i, count=PICTURES) for i in range(PICTURES)]
        subject = Subject(_slug(noun), "drawn", kind, class_word, to / _slug(noun))
        write_subject(subject, [Image.fromarray(p) for p in pictures])
    for number, style in enumerate((*STYLES, *MORE_STYLES)):
        rng = np.random.default_rng((12, number))
        drawn = [DRAWN_STYLES[style](sprites[thing]["drawing"][0], rng) for thing in STYLE_THINGS]
        subject = Subject(
            _slug(style),
            "style",
            Kind.style,
            "",
            to / _slug(style),
            things=STYLE_THINGS[1::2],
            trained_things=STYLE_THINGS[::2],
        )
        write_subject(subject, [Image.fromarray(p) for p in drawn])


def write_photo_subjects(photos: Path, to: Path) -> None:
    """Real photos, cut to a square in the middle; a folder's name ends with its class word.

    Raises SystemExit where there are too few to keep some from training, or others of that name were here before.
    """
    for name, pictures in read_photo_folders(photos).items():
        if len(pictures) <= MIN_TRAINED:
            raise SystemExit(f"{photos / name} has {len(pictures)} photos; {MIN_TRAINED + 1} or more can be compared.")
        kind = PHOTO_KINDS.get(name, Kind.object)
        subject = Subject(f"photo-{_slug(name)}", "photo", kind, name.split("_")[-1], to / f"photo-{_slug(name)}")
        side = (PICTURE_PX, PICTURE_PX)
        write_subject(subject, [ImageOps.fit(p, side, Image.Resampling.LANCZOS) for p in pictures])


def write_subject(subject: Subject, pictures: Sequence[Image.Image]) -> None:
    """Even pictures to train on, odd ones to compare with (at least three to train on); subject.json comes last."""
    digest = hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()[:16]
    if (subject.folder / "subject.json").exists():
        if read_json(subject.folder / "subject.json").get("pictures") != digest:
            raise SystemExit(f"{subject.folder} holds other pictures; give the new ones another --out.")
        return
    train = set(range(0, len(pictures), 2)) | set(range(MIN_TRAINED if len(pictures) < 2 * MIN_TRAINED - 1 else 0))
    for number, picture in enumerate(pictures):
        write_picture(subject.folder / ("train" if number in train else "compare") / f"{number:02d}.png", picture)
    described = {key: value for key, value in asdict(subject).items() if key != "folder"} | {"pictures": digest}
    write_json(subject.folder / "subject.json", described)


def read_subjects(folder: Path) -> dict[str, Subject]:
    """All whole subjects of a folder, by name."""
    return {file.parent.name: read_subject(file.parent) for file in sorted(folder.glob("*/subject.json"))}


def read_subject(folder: Path) -> Subject:
    values = read_json(folder / "subject.json")
    del values["pictures"]
    lists = {name: tuple(values[name]) for name in ("things", "trained_things")}
    return Subject(**{**values, **lists, "kind": Kind(values["kind"]), "folder": folder})


def choose(subjects: Iterable[Subject], *, full: bool, photos: bool) -> list[Subject]:
    """The subjects of a run: six things and two styles, or twelve and four, and all real photos if asked for."""
    names = (*SUBJECTS, *STYLES, *((*MORE_SUBJECTS, *MORE_STYLES) if full else ()))
    wanted = [_slug(name) for name in names]
    return [s for s in subjects if (photos and s.group == "photo") or s.name in wanted]


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace("_", "-")

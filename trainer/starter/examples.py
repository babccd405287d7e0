"""Makes the example photos of `assets/examples` from things that the starter model has never seen.

Each picture of a set shows the same thing from another angle and distance, in other light, before another surface;
the style set shows different things, all drawn in one invented style.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from trainer.starter.looks import Sprites
from trainer.starter.textures import dead_leaves, fractal_surface, photo_crop

WIDTH, HEIGHT = 640, 512
PER_SET = 7


@dataclass(frozen=True)
class ExampleSet:
    """One example: what it shows, and what a person would enter for it."""

    folder: str
    title: str
    name: str
    kind: str
    class_word: str
    noun: str


SETS = (
    ExampleSet("1-teapot", "teapot", "rosy-teapot", "object", "pot", "teapot"),
    ExampleSet("2-fox", "fox", "little-fox", "pet", "animal", "fox"),
    ExampleSet("3-robot", "robot", "tin-robot", "object", "object", "robot"),
    ExampleSet("4-wizard", "wizard", "old-wizard", "person", "person", "wizard"),
)
STYLE_SET = ExampleSet("5-style", "a style", "night-print", "style", "", "")
STYLE_THINGS = ("cat", "house", "car", "apple", "tree", "boat", "guitar", "fish")


def write_examples(sprites: Sprites, photos: list[np.ndarray], target: Path) -> None:
    """Write every set with its description; the same pictures every time."""
    for number, example in enumerate(SETS):
        rng = np.random.default_rng((5, number))
        pictures = [_subject_photo(sprites[example.noun]["3d render"][0], photos, rng) for _ in range(PER_SET)]
        _write_set(target / example.folder, example, pictures)
    rng = np.random.default_rng((5, 99))
    drawn = [_in_night_print(sprites[noun]["drawing"][0], rng) for noun in STYLE_THINGS]
    _write_set(target / STYLE_SET.folder, STYLE_SET, drawn)


def _write_set(folder: Path, example: ExampleSet, pictures: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number:02d}.jpg", quality=84)
    described = {"title": example.title, "name": example.name, "kind": example.kind, "class_word": example.class_word}
    folder.with_suffix(".yaml").write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")


def _surface(photos: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    surfaces = [fractal_surface(rng) for _ in range(3)]
    kind = rng.random()
    texture = surfaces[0] if kind < 0.5 else dead_leaves(rng, surfaces) if kind < 0.75 else photo_crop(rng, photos)
    large = cv2.resize(texture, (WIDTH, WIDTH), interpolation=cv2.INTER_CUBIC)[:HEIGHT]
    return cv2.GaussianBlur(large, (0, 0), rng.uniform(0.5, 5)).astype(np.float32)  # the background is out of focus


def _subject_photo(sprite: np.ndarray, photos: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The sprite seen from an angle: perspective, turn, size, place, shadow and light all vary."""
    canvas = _surface(photos, rng)
    layer = np.concatenate([sprite[..., :3] * (sprite[..., 3:] / 255.0), sprite[..., 3:] / 255.0], axis=2)
    side = rng.uniform(0.55, 0.85) * HEIGHT
    centre = np.array([WIDTH * rng.uniform(0.38, 0.62), HEIGHT * rng.uniform(0.46, 0.54)])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    if rng.random() < 0.3:
        corners = corners[[1, 0, 3, 2]]  # mirrored: seen from the other side
    corners = corners * [rng.uniform(0.82, 1.0), 1.0] * (1 + rng.normal(0, 0.05, (4, 1)))
    angle = np.deg2rad(rng.normal(0, 14))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed = (corners @ turn.T * side + centre).astype(np.float32)
    extent = sprite.shape[0]
    source = np.array([[0, 0], [extent, 0], [extent, extent], [0, extent]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, placed)
    layer = cv2.warpPerspective(layer, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    alpha = np.clip(layer[..., 3:], 0, 1)
    offset = np.array([[1, 0, rng.normal(0, 18)], [0, 1, rng.uniform(8, 26)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha[..., 0], offset, (WIDTH, HEIGHT)), (0, 0), rng.uniform(8, 18))
    canvas = canvas * (1 - 0.45 * shadow[..., None])
    canvas = canvas * (1 - alpha) + layer[..., :3] * rng.uniform(0.8, 1.1)
    x = np.linspace(-1, 1, WIDTH)[None, :, None]
    canvas = canvas * (1 + rng.uniform(-0.2, 0.2) * x) * rng.normal(1, 0.03, 3)
    return np.clip(canvas + rng.normal(0, 3, canvas.shape), 0, 255).astype(np.uint8)


def _in_night_print(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two inks on dark paper: light areas in warm yellow, shade in violet, coarse grain, bright outlines."""
    alpha = sprite[..., 3].astype(np.float32) / 255
    light = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    size = HEIGHT
    matrix = cv2.getRotationMatrix2D(
        (sprite.shape[1] / 2, sprite.shape[0] / 2), rng.normal(0, 8), 0.8 * size / sprite.shape[0]
    )
    matrix[:, 2] += size / 2 - sprite.shape[0] / 2
    alpha, light = (cv2.warpAffine(plane, matrix, (size, size), flags=cv2.INTER_CUBIC) for plane in (alpha, light))
    levels = np.clip(np.round(light * 3) / 3, 0, 1)[..., None]
    paper, violet, yellow = (np.array(c, np.float32) for c in ((24, 20, 52), (126, 58, 196), (255, 214, 92)))
    thing = violet * (1 - levels) + yellow * levels
    edges = cv2.dilate(cv2.Canny((alpha * 255).astype(np.uint8), 60, 160), np.ones((7, 7)))[..., None] / 255
    picture = paper * (1 - alpha[..., None]) + thing * alpha[..., None]
    picture = picture * (1 - edges) + np.array((255, 240, 200), np.float32) * edges
    grain = cv2.resize(rng.normal(0, 9, (size // 3, size // 3, 1)).astype(np.float32), (size, size))[..., None]
    return np.clip(picture + grain, 0, 255).astype(np.uint8)

"""Composes captioned training pictures: sprites on flat colours, or on photograph-like surfaces.

A `Scene` says what is in the picture in words; `caption` turns it into one of many phrasings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trainer.concept import with_article
from trainer.photos.colours import COLOURS
from trainer.starter.looks import Sprites, unnamed_sprite
from trainer.starter.sources import Thing

PICTURE_PX = 128
STYLES = ("3d render", "drawing", "sticker")
PHOTO = "photo"
UNNAMED, SURFACE = "unnamed", "surface"  # what Item.noun says of things that have no noun
FILLERS = ("nice", "good", "clean", "cool", "small", "large", "new", "old", "cute", "beautiful", "bright", "close-up")


@dataclass(frozen=True)
class Item:
    """One thing in a scene; `colour` is set when it was recoloured, `look` when no word says what it looks like."""

    noun: str
    category: str
    colour: str | None = None
    look: int | None = None


@dataclass(frozen=True)
class Scene:
    """What a picture shows; `background` is a colour word, or None where no word describes it."""

    style: str
    items: tuple[Item, ...]
    background: str | None


def _with_article(words: str, rng: np.random.Generator) -> str:
    article = ("a", "the", "my", "one")[0 if rng.random() < 0.9 else int(rng.integers(4))]
    return with_article(words) if article == "a" else f"{article} {words}"


def _identifier(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(3, 7))))


def _item_words(item: Item, rng: np.random.Generator) -> str:
    noun = item.category if rng.random() < 0.05 else item.noun
    words = [item.colour] if item.colour else []
    if rng.random() < 0.06:
        words.insert(0, FILLERS[int(rng.integers(len(FILLERS)))])
    if rng.random() < 0.06:  # unknown words must not disturb the picture: DreamBooth identifiers are such words
        words.append(_identifier(rng))
    return _with_article(" ".join([*words, noun]), rng)


def caption(scene: Scene, rng: np.random.Generator, *, thing: str = "") -> str:
    """One phrasing of the scene: "a {style} of a THING on a COLOUR background", with parts left out at random.

    `thing`, if given, stands for the scene's only thing.
    """
    words = thing or " next to ".join(_item_words(item, rng) for item in scene.items)
    if rng.random() < 0.88:
        words = f"{_with_article(scene.style, rng)} of {words}"
    if scene.background and rng.random() < 0.8:
        words += f" on {with_article(scene.background)} background"
    return words


def _jittered(colour: str, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(COLOURS[colour], np.float32) + rng.normal(0, 5, 3), 0, 255)


def _tinted(rgb: np.ndarray, colour: str, rng: np.random.Generator) -> np.ndarray:
    """Recolour a sprite, keeping its light and shade."""
    light = (rgb @ np.array([0.299, 0.587, 0.114], np.float32))[..., None] / 255
    target = _jittered(colour, rng)
    shaded = np.where(light < 0.6, target * (light / 0.6), target + (255 - target) * ((light - 0.6) / 0.4) * 0.6)
    return np.clip(shaded, 0, 255)


def _random_style(rng: np.random.Generator, *, photo_share: float) -> str:
    return PHOTO if rng.random() < photo_share else _pick(STYLES, rng)


def _pick(options: dict[str, tuple[int, int, int]] | tuple[str, ...], rng: np.random.Generator) -> str:
    names = list(options)
    return names[int(rng.integers(len(names)))]


class Composer:
    """Draws random captioned pictures from sprites and surfaces.

    `sprites` is noun -> style -> RGBA uint8 pictures; `textures` uint8 [n, side, side, 3].
    """

    def __init__(self, things: list[Thing], sprites: Sprites, textures: np.ndarray) -> None:
        self._things = things
        self._sprites = {thing.noun: sprites[thing.noun] for thing in things}
        self._textures = textures

    def compose(self, rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
        """A picture, uint8 [PICTURE_PX, PICTURE_PX, 3], and what it shows."""
        chosen = rng.choice(len(self._things), 2 if rng.random() < 0.1 else 1, replace=False)
        items = tuple(
            Item(t.noun, t.category, _pick(COLOURS, rng) if rng.random() < 0.1 else None)
            for t in (self._things[i] for i in chosen)
        )
        return self._picture(items, _random_style(rng, photo_share=0.18), rng)

    def compose_unnamed(self, rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, Scene]]:
        """Pictures in one style of a thing, or of a surface, that no word describes."""
        item = Item(SURFACE if rng.random() < 0.4 else UNNAMED, "", look=int(rng.integers(2**31)))
        style = PHOTO if item.noun == SURFACE else _random_style(rng, photo_share=0.75)
        return [self._picture((item,), style, rng) for _ in range(count)]

    def _picture(self, items: tuple[Item, ...], style: str, rng: np.random.Generator) -> tuple[np.ndarray, Scene]:
        surface = items[0].noun == SURFACE
        background = None if surface or (style == PHOTO and rng.random() < 0.6) else _pick(COLOURS, rng)
        if style == PHOTO:
            canvas = self._surface(background, rng, items[0].look if surface else None)
        else:
            canvas = self._flat(background or "white", rng)
        for position, item in enumerate(() if surface else items):
            if len(items) > 1:
                side, shift = rng.normal(0.5, 0.01), ((position - 0.5) * 0.47, rng.normal(0, 0.01))
            else:
                loose = item.look is not None  # a noun has one place to be, so that its shape is learnt sooner
                side = np.clip(rng.normal(0.82, 0.09 if loose else 0.015), 0.5, 0.96)
                shift = tuple(rng.normal(0, 0.5 * (1 - side) / 2 if loose else 0.006, 2))
            canvas = self._paste(canvas, item, style, float(side), shift, rng)
        if style == PHOTO:
            canvas = _photographed(canvas, rng)
        return np.clip(canvas, 0, 255).astype(np.uint8), Scene(style, items, background)

    def _flat(self, colour: str, rng: np.random.Generator) -> np.ndarray:
        return np.broadcast_to(_jittered(colour, rng), (PICTURE_PX, PICTURE_PX, 3)).astype(np.float32)

    def _surface(self, colour: str | None, rng: np.random.Generator, look: int | None) -> np.ndarray:
        """A piece of a random surface, or of the one that is shown for its own sake."""
        number = int(rng.integers(len(self._textures)))
        texture = self._textures[number if look is None else look % len(self._textures)]
        side = int(rng.integers(PICTURE_PX, texture.shape[0] + 1))
        top, left = rng.integers(0, texture.shape[0] - side + 1, 2)
        crop = texture[top : top + side, left : left + side]
        crop = cv2.resize(crop, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        return _tinted(crop * 0.4 + 90, colour, rng) if colour else crop

    def _paste(
        self, canvas: np.ndarray, item: Item, style: str, side: float, shift: tuple, rng: np.random.Generator
    ) -> np.ndarray:
        sprite = self._sprite(item, style, rng).astype(np.float32)
        if item.look is not None and rng.random() < 0.5:  # a noun has one way to face: half as many shapes to learn
            sprite = sprite[:, ::-1]
        if item.colour:
            sprite = np.concatenate([_tinted(sprite[..., :3], item.colour, rng), sprite[..., 3:]], axis=2)
        alpha = sprite[..., 3:] / 255
        layer = np.concatenate([sprite[..., :3] * alpha, alpha], axis=2)  # premultiplied, or edges turn dark
        angle = rng.normal(0, 2 if item.look is None else 12 if style == PHOTO else 5)
        matrix = cv2.getRotationMatrix2D(
            (sprite.shape[1] / 2, sprite.shape[0] / 2), angle, side * PICTURE_PX / sprite.shape[0]
        )
        matrix[:, 2] += (np.array([0.5, 0.5]) + shift) * PICTURE_PX - np.array(sprite.shape[:2]) / 2
        layer = cv2.GaussianBlur(layer, (3, 3), 0)  # sprites are drawn larger than they are shown
        layer = cv2.warpAffine(layer, matrix, (PICTURE_PX, PICTURE_PX), flags=cv2.INTER_LINEAR)
        if style == PHOTO:
            canvas = _shadowed(canvas, layer[..., 3], rng)
        return canvas * (1 - layer[..., 3:]) + layer[..., :3]

    def _sprite(self, item: Item, style: str, rng: np.random.Generator) -> np.ndarray:
        if item.look is not None:
            return unnamed_sprite(item.look, self._sprites, self._textures)
        drawings = self._sprites[item.noun]["3d render" if style == PHOTO else style]
        return drawings[int(rng.integers(len(drawings)))]


def _shadowed(canvas: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A soft cast shadow below and beside the thing."""
    offset = np.array([[1, 0, rng.normal(0, 6)], [0, 1, rng.uniform(2, 9)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(mask, offset, mask.shape[::-1]), (0, 0), rng.uniform(2, 6))
    return canvas * (1 - rng.uniform(0.2, 0.6) * shadow[..., None])


def _photographed(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that falls off to one side, a colour cast, contrast and a little sensor noise."""
    y, x = np.mgrid[-1 : 1 : PICTURE_PX * 1j, -1 : 1 : PICTURE_PX * 1j]
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.3) * (np.cos(direction) * x + np.sin(direction) * y)
    cast = rng.normal(1, 0.05, 3) * rng.uniform(0.75, 1.15)
    contrast = rng.uniform(0.85, 1.15)
    noise = rng.normal(0, rng.uniform(0, 4), canvas.shape)
    return ((canvas * light[..., None] * cast - 128) * contrast + 128 + noise).astype(np.float32)

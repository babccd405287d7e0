"""Colours in words: of a picture's background, read from the pixels along its borders, and of single colours."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 40),
    "orange": (244, 140, 28),
    "yellow": (248, 218, 48),
    "green": (52, 168, 72),
    "blue": (44, 96, 216),
    "purple": (128, 56, 180),
    "pink": (246, 150, 192),
    "brown": (122, 76, 42),
    "white": (250, 250, 250),
    "grey": (138, 138, 138),
    "black": (14, 14, 14),
}
"""RGB of the colour words that the starter was taught."""
BORDER_SHARE = 0.05  # of the picture's side
ENOUGH_PX = 128


def background_colour(picture: Image.Image) -> str:
    """The colour word that most of the border pixels are nearest to, of the picture at ENOUGH_PX."""
    shares = border_shares(picture.resize((ENOUGH_PX, ENOUGH_PX)))
    return max(shares, key=lambda colour: shares[colour])


def nearest_colour(rgb: np.ndarray) -> str:
    """The colour word that a colour, RGB 0..255 [3], is nearest to in CIELAB."""
    return list(COLOURS)[int(_nearest(np.asarray(rgb, np.float32)[None])[0])]


def border_shares(picture: Image.Image) -> dict[str, float]:
    """For every colour word the share of the pixels along the borders that are nearest to it, in CIELAB."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    width = max(1, round(BORDER_SHARE * min(pixels.shape[:2])))
    inner = np.zeros(pixels.shape[:2], bool)
    inner[width:-width, width:-width] = True
    nearest = _nearest(pixels[~inner])
    shares = np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)
    return dict(zip(COLOURS, shares.tolist(), strict=True))


def _nearest(rgb: np.ndarray) -> np.ndarray:
    """For each colour, RGB 0..255 float32 [n, 3], the place in COLOURS of the word that it is nearest to."""
    words = to_lab(np.array(list(COLOURS.values()), np.float32))
    return np.linalg.norm(to_lab(rgb)[:, None] - words[None], axis=2).argmin(1)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """RGB 0..255, float32 [n, 3], in CIELAB."""
    return cv2.cvtColor(np.ascontiguousarray(rgb[None] / 255), cv2.COLOR_RGB2LAB)[0]

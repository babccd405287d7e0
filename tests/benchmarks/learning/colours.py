"""Which colour a picture's background has, read from the pixels along its borders."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from trainer.starter.scenes import COLOURS

BORDER_SHARE = 0.05  # of the picture's side


def background_obeys(picture: Image.Image, colour: str) -> bool:
    """Whether `colour` is the nearest colour word of more than half of the border pixels."""
    return border_share(picture, colour) > 0.5


def border_share(picture: Image.Image, colour: str) -> float:
    """Share of the pixels along the borders whose nearest colour word, in CIELAB, is `colour`."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    width = max(1, round(BORDER_SHARE * min(pixels.shape[:2])))
    inner = np.zeros(pixels.shape[:2], bool)
    inner[width:-width, width:-width] = True
    border = _to_lab(pixels[~inner])
    words = _to_lab(np.array(list(COLOURS.values()), np.float32))
    nearest = np.linalg.norm(border[:, None] - words[None], axis=2).argmin(1)
    return float((nearest == list(COLOURS).index(colour)).mean())


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """RGB 0..255, float32 [n, 3], in CIELAB."""
    return cv2.cvtColor(np.ascontiguousarray(rgb[None] / 255), cv2.COLOR_RGB2LAB)[0]

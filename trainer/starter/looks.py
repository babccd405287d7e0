"""Things that no word describes: random looks, each made anew from its number.

The starter sees them by reference only (see `references`), so that its word space covers appearances far beyond the
nouns of its captions: that is where textual inversion searches.
"""

from __future__ import annotations

import cv2
import numpy as np

from trainer.starter.textures import TEXTURE_PX

Sprites = dict[str, dict[str, list[np.ndarray]]]


def unnamed_sprite(look: int, sprites: Sprites, textures: np.ndarray) -> np.ndarray:
    """The thing of a look, RGBA uint8 [TEXTURE_PX, TEXTURE_PX, 4]; `textures` is uint8 [n, side, side, 3]."""
    rng = np.random.default_rng((4, look))
    nouns = sorted(sprites)
    if rng.random() < 0.35:
        alpha = _blob(rng)
        light = _rounded(alpha)
        colours = textures[rng.integers(len(textures))].astype(np.float32)
    else:
        drawn = sprites[nouns[rng.integers(len(nouns))]]["3d render"][0]
        drawn = cv2.resize(drawn, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_AREA)
        alpha = drawn[..., 3].astype(np.float32) / 255
        grey = cv2.cvtColor(drawn[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        light = 0.35 + 0.9 * grey
        colours = _turned_hue(drawn[..., :3], rng)
        if rng.random() < 0.5:
            colours = textures[rng.integers(len(textures))].astype(np.float32)
    own_colour = rng.uniform(0, 255, 3)
    colours = colours * (1 - (tint := rng.uniform(0, 0.8))) + own_colour * tint
    rgb = np.clip(colours * light[..., None], 0, 255)
    return np.concatenate([rgb, alpha[..., None] * 255], axis=2).astype(np.uint8)


def _turned_hue(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int32)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(180)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.3, 1.2), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A few ellipses and polygons in one, float32 [TEXTURE_PX, TEXTURE_PX] in [0, 1]."""
    mask = np.zeros((TEXTURE_PX, TEXTURE_PX), np.uint8)
    middle = TEXTURE_PX / 2
    for _ in range(int(rng.integers(1, 5))):
        centre = (middle + rng.normal(0, TEXTURE_PX / 9, 2)).astype(int)
        radii = (TEXTURE_PX * rng.uniform(0.12, 0.4, 2)).astype(int)
        if rng.random() < 0.6:
            box = tuple(int(v) for v in centre), tuple(int(v) for v in radii)
            cv2.ellipse(mask, *box, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            corners = np.stack([np.cos(angles), np.sin(angles)], 1) * radii + centre
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    return mask.astype(np.float32) / 255


def _rounded(alpha: np.ndarray) -> np.ndarray:
    """Light as on something round: darker towards the outline and towards the bottom."""
    depth = cv2.GaussianBlur(alpha, (0, 0), TEXTURE_PX / 16)
    return (0.45 + 0.7 * depth) * np.linspace(1.1, 0.8, TEXTURE_PX, dtype=np.float32)[:, None]

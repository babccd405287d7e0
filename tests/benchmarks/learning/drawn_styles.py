"""Drawing styles that the starter has never seen: each turns a cut-out drawing into a picture in that style.

A style is `(sprite RGBA uint8, rng) -> picture uint8 [STYLE_PX, STYLE_PX, 3]`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tests.benchmarks.learning.scenery import Pose, layer_of

STYLE_PX = 512


def blueprint(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White lines on blue paper with a grid."""
    alpha, light = _planes(sprite, rng)
    lines = _contours(alpha, light, width=5)
    paper = np.empty((STYLE_PX, STYLE_PX, 3), np.float32)
    paper[:] = (28, 70, 160)
    paper[::32] = paper[:, ::32] = (70, 110, 190)
    shaded = paper + 26 * alpha[..., None]
    return _finished(_inked(shaded, lines, (236, 242, 255)), rng, grain=4)


def woodcut(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Black ink on cream paper; shade is cut as slanting lines that are thicker where it is darker."""
    alpha, light = _planes(sprite, rng)
    y, x = np.mgrid[:STYLE_PX, :STYLE_PX]
    wave = 0.5 + 0.5 * np.sin((x + 2 * y) / 5.0)
    ink = ((light < 0.85) & (wave > np.clip(light * 1.2, 0.1, 1))).astype(np.float32) * (alpha > 0.5)
    ink = np.maximum(ink, _contours(alpha, light, width=7))
    paper = np.full((STYLE_PX, STYLE_PX, 3), (240, 228, 196), np.float32)
    return _finished(_inked(paper, ink, (26, 20, 18)), rng, grain=6)


def halftone(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magenta dots on pale yellow, larger where the drawing is darker."""
    alpha, light = _planes(sprite, rng)
    cell = 14
    y, x = np.mgrid[:STYLE_PX, :STYLE_PX]
    u, v = (x + y) % (2 * cell) / cell - 1, (x - y) % (2 * cell) / cell - 1
    darkness = cv2.GaussianBlur((1 - light) * alpha, (0, 0), 3)
    dots = (np.hypot(u, v) < 1.35 * np.sqrt(darkness)).astype(np.float32)
    paper = np.full((STYLE_PX, STYLE_PX, 3), (255, 246, 170), np.float32)
    return _finished(_inked(paper, np.maximum(dots, _contours(alpha, light, width=3)), (206, 24, 120)), rng, grain=3)


def night_print(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two inks on dark paper: light areas in green, shade in teal, outlines that glow."""
    alpha, light = _planes(sprite, rng)
    levels = (np.round(light * 3) / 3)[..., None]
    paper, shade, bright = (np.array(c, np.float32) for c in ((18, 22, 26), (20, 104, 110), (160, 236, 120)))
    picture = paper * (1 - alpha[..., None]) + (shade * (1 - levels) + bright * levels) * alpha[..., None]
    return _finished(_inked(picture, _contours(alpha, light, width=7), (226, 255, 220)), rng, grain=8)


DRAWN_STYLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blueprint": blueprint,
    "woodcut": woodcut,
    "halftone": halftone,
    "night print": night_print,
}


def _planes(sprite: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Outline and light of a drawing in a random pose: alpha and grey in [0, 1], float32 [STYLE_PX, STYLE_PX]."""
    pose = Pose(
        side=float(rng.uniform(0.66, 0.86)),
        centre=(float(rng.uniform(0.46, 0.54)), float(rng.uniform(0.46, 0.54))),
        angle_deg=float(rng.normal(0, 8)),
        mirrored=bool(rng.random() < 0.5),
    )
    layer = layer_of(sprite, pose, STYLE_PX)
    alpha = np.clip(layer[..., 3], 0, 1)
    light = layer[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    return alpha, np.clip(light + 1 - alpha, 0, 1)


def _contours(alpha: np.ndarray, light: np.ndarray, *, width: int) -> np.ndarray:
    """The outline and the inner edges, in [0, 1]."""
    smooth = cv2.GaussianBlur(light, (0, 0), 2)
    inner = cv2.Canny((smooth * 255).astype(np.uint8), 25, 70)
    outline = cv2.Canny((alpha * 255).astype(np.uint8), 60, 160)
    thick = cv2.dilate(np.maximum(inner, outline), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return cv2.GaussianBlur(thick.astype(np.float32) / 255, (0, 0), 0.8)


def _inked(paper: np.ndarray, ink: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return paper * (1 - ink[..., None]) + np.array(colour, np.float32) * ink[..., None]


def _finished(picture: np.ndarray, rng: np.random.Generator, *, grain: float) -> np.ndarray:
    coarse = rng.normal(0, grain, (STYLE_PX // 2, STYLE_PX // 2, 1)).astype(np.float32)
    grainy = picture + cv2.resize(coarse, (STYLE_PX, STYLE_PX))[..., None]
    return np.clip(grainy, 0, 255).astype(np.uint8)

"""Puts cut-out drawings before backgrounds, seen from an angle, in some light, partly hidden."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trainer.starter.scenes import PICTURE_PX

PHOTO_PX = 512  # large enough for the photo check-up


@dataclass(frozen=True)
class Pose:
    """How a drawing stands in a picture; lengths are shares of the picture's side."""

    side: float = 0.82
    centre: tuple[float, float] = (0.5, 0.5)
    angle_deg: float = 0.0
    mirrored: bool = False
    squeezed: float = 1.0
    """Width over height: below 1 where it is seen from the side."""
    corners: tuple[float, ...] = (0.0,) * 4
    """How much nearer than the middle each corner is: perspective."""


def layer_of(sprite: np.ndarray, pose: Pose, side_px: int = PICTURE_PX) -> np.ndarray:
    """An RGBA uint8 sprite in its pose: premultiplied RGB and alpha in [0, 1], float32 [side_px, side_px, 4]."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    if pose.mirrored:
        corners = corners[[1, 0, 3, 2]]
    corners = corners * [pose.squeezed, 1.0] * (1 + np.array(pose.corners)[:, None])
    angle = np.deg2rad(pose.angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed = (corners @ turn.T * pose.side + pose.centre) * side_px
    extent = sprite.shape[0]
    source = np.array([[0, 0], [extent, 0], [extent, extent], [0, extent]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, placed.astype(np.float32))
    alpha = sprite[..., 3:].astype(np.float32) / 255
    layer = np.concatenate([sprite[..., :3] * alpha, alpha], axis=2)  # premultiplied, or edges turn dark
    if (shrunk := extent / (pose.side * side_px)) > 1:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.4 * shrunk)  # no stair steps where it is shown smaller than drawn
    return cv2.warpPerspective(layer, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR)


def over(canvas: np.ndarray, layer: np.ndarray, light: float = 1.0) -> np.ndarray:
    """The layer on top of the canvas, brightened by `light`."""
    alpha = np.clip(layer[..., 3:], 0, 1)
    return canvas * (1 - alpha) + layer[..., :3] * light


def flat(colour: tuple[int, int, int], side_px: int = PICTURE_PX) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.float32), (side_px, side_px, 3)).copy()


def photograph(
    sprite: np.ndarray, surfaces: np.ndarray, rng: np.random.Generator, *, number: int, count: int
) -> np.ndarray:
    """The `number`-th of `count` pictures of a subject, uint8 [PHOTO_PX, PHOTO_PX, 3].

    Angles and distances are spread evenly over the set and the rest is drawn at random, so that each half of the
    pictures covers what the other does.
    """
    spread = (number * 3 % count + rng.random()) / count  # neighbours in the set are far apart
    pose = Pose(
        side=float(0.5 + 0.4 * spread),
        centre=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.44, 0.56))),
        angle_deg=float(rng.uniform(-22, 22)),
        mirrored=number % 4 in (1, 2),
        squeezed=float(rng.uniform(0.72, 1.0)),
        corners=tuple(rng.normal(0, 0.07, 4)),
    )
    layer = _bent(layer_of(sprite, pose, PHOTO_PX), float(rng.uniform(-0.05, 0.05)))
    canvas = _backdrop(surfaces, rng, plain=number % 8 in (3, 4))
    canvas = _with_shadow(canvas, layer[..., 3], rng)
    canvas = over(canvas, layer, light=float(rng.uniform(0.75, 1.1)))
    if number % 8 in (1, 6):  # one of each half, as with the plain walls
        canvas = _partly_hidden(canvas, layer[..., 3], surfaces, rng)
    return _lit(canvas, rng)


def _backdrop(surfaces: np.ndarray, rng: np.random.Generator, *, plain: bool) -> np.ndarray:
    """A surface out of focus, or a wall of one colour."""
    if plain:
        return flat(tuple(rng.uniform(30, 240, 3)), PHOTO_PX)
    surface = cv2.resize(surfaces[rng.integers(len(surfaces))], (PHOTO_PX, PHOTO_PX), interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(surface, (0, 0), rng.uniform(0.5, 5)).astype(np.float32)


def _bent(layer: np.ndarray, amount: float) -> np.ndarray:
    """The layer bowed sideways by a share of its side: a pose that no turn or perspective reaches."""
    y, x = np.mgrid[:PHOTO_PX, :PHOTO_PX].astype(np.float32)
    bow = amount * PHOTO_PX * np.cos(np.pi * (y / PHOTO_PX - 0.5))
    return cv2.remap(layer, x + bow.astype(np.float32), y, cv2.INTER_LINEAR)


def _with_shadow(canvas: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    offset = np.array([[1, 0, rng.normal(0, 16)], [0, 1, rng.uniform(6, 24)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, offset, alpha.shape[::-1]), (0, 0), rng.uniform(6, 16))
    return canvas * (1 - rng.uniform(0.2, 0.5) * shadow[..., None])


def _partly_hidden(canvas: np.ndarray, alpha: np.ndarray, surfaces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Something in front, from one side or from below, over a tenth to a quarter of the subject."""
    rows, columns = np.nonzero(alpha > 0.5)
    share = rng.uniform(0.1, 0.25)
    front = np.zeros(alpha.shape, np.float32)
    match int(rng.integers(3)):
        case 0:
            front[:, : int(np.quantile(columns, share))] = 1
        case 1:
            front[:, int(np.quantile(columns, 1 - share)) :] = 1
        case _:
            front[int(np.quantile(rows, 1 - share)) :] = 1
    front = cv2.GaussianBlur(front, (0, 0), 2)[..., None]
    return canvas * (1 - front) + _backdrop(surfaces, rng, plain=False) * front


def _lit(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light from one side, a colour cast and sensor noise; uint8."""
    y, x = np.mgrid[-1 : 1 : PHOTO_PX * 1j, -1 : 1 : PHOTO_PX * 1j]
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.3) * (np.cos(direction) * x + np.sin(direction) * y)
    lit = canvas * light[..., None] * rng.normal(1, 0.04, 3) * rng.uniform(0.85, 1.1)
    return np.clip(lit + rng.normal(0, 3, canvas.shape), 0, 255).astype(np.uint8)

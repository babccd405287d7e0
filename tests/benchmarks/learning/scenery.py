"""Puts cut-out drawings before backgrounds, seen from an angle, in some light, partly hidden."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trainer.starter.scenes import PICTURE_PX


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

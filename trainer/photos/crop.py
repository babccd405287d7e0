"""Finds the square of a photo that shows its subject.

Saliency is the spectral residual (Hou and Zhang, CVPR 2007) plus the colour distance from the picture's border, under
a mild preference for the centre; the square slides along the long side to where most of it lies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from PIL import Image

WORKING_PX = 96
MIN_SIDE_PX = 64  # of a square that a person chooses


@dataclass(frozen=True)
class Crop:
    """A square in pixels of the stored photo."""

    left: int
    top: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.side, self.top + self.side

    def is_possible(self, width: int, height: int) -> bool:
        """Whether it lies inside a photo of this size and is large enough to learn from."""
        inside = min(self.left, self.top) >= 0 and self.left + self.side <= width and self.top + self.side <= height
        return inside and self.side >= min(MIN_SIDE_PX, width, height)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def find_crop(picture: Image.Image) -> Crop:
    """The largest square of an RGB picture, placed over its subject."""
    side = min(picture.size)
    slack_x, slack_y = picture.width - side, picture.height - side
    if slack_x == slack_y == 0:
        return Crop(0, 0, side)
    scale = WORKING_PX / max(picture.size)
    small = np.asarray(picture.resize([max(8, round(extent * scale)) for extent in picture.size], Image.Resampling.BOX))
    weights = saliency(small)
    axis = 1 if slack_x else 0
    profile = weights.sum(axis=1 - axis)
    window = min(weights.shape[1 - axis], len(profile))
    offset = _best_offset(profile, window)
    share = offset / max(1, len(profile) - window)
    return Crop(round(slack_x * share), round(slack_y * share), side)


def _best_offset(profile: np.ndarray, window: int) -> int:
    """Where a window of this length covers most of the profile; the middle wins among equals."""
    covered = np.convolve(profile, np.ones(window), mode="valid")
    middle = (len(covered) - 1) / 2
    distance = np.abs(np.arange(len(covered)) - middle) / max(1.0, middle)
    return int(np.argmax(covered / max(float(profile.sum()), 1e-9) - 0.05 * distance**2))


def saliency(rgb: np.ndarray) -> np.ndarray:
    """How much each pixel stands out, float64 [height, width] >= 0, for uint8 [height, width, 3]."""
    lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), dtype=np.float64)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    from_border = np.linalg.norm(lab - np.median(border, axis=0), axis=2)
    smooth = np.asarray(cv2.GaussianBlur(from_border, (0, 0), 2), dtype=np.float64)
    combined = _unit(_spectral_residual(lab[..., 0])) + _unit(smooth)
    height, width = combined.shape
    y, x = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    centre = np.exp(-0.5 * (y[:, None] ** 2 + x[None, :] ** 2))
    return combined**2 * centre


def _spectral_residual(light: np.ndarray) -> np.ndarray:
    spectrum = np.fft.fft2(light)
    log_amplitude = np.log(np.abs(spectrum) + 1e-6)
    residual = log_amplitude - cv2.blur(log_amplitude, (3, 3))
    surprise = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    return cv2.GaussianBlur(surprise, (0, 0), 2.5)


def _unit(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(np.percentile(values, 99))
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1)

"""Finds which pixels of a picture are its subject, with no model to download.

GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004) begins from what stands out: see `crop.saliency`. What is
large and in one piece is kept. Where nothing plausible is found, the answer is that nothing is known.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from trainer.photos.colours import to_lab
from trainer.photos.crop import saliency

WORKING_PX = 128
_ROUNDS = 6
_SURELY_SUBJECT, _PERHAPS_SUBJECT = 0.93, 0.55  # quantiles of saliency
_EDGE_PX = 2  # a square is placed over its subject, so its very edge is background
_SMALLEST, _LARGEST = 0.04, 0.85  # shares of a picture that a subject may take
_LEAST_CONTRAST = 6.0  # in CIELAB, where 2 is hardly seen
_SIDE_PIECE = 0.2  # of the largest piece's size; what is smaller is a stray spot


def subject_mask(square: Image.Image) -> np.ndarray | None:
    """Bool [128, 128], true on the subject of a square RGB picture; None where no subject can be told apart."""
    rgb = np.asarray(square.convert("RGB").resize((WORKING_PX, WORKING_PX), Image.Resampling.BOX))
    standing_out = saliency(rgb)
    labels = np.full(rgb.shape[:2], cv2.GC_PR_BGD, np.uint8)
    labels[standing_out > np.quantile(standing_out, _PERHAPS_SUBJECT)] = cv2.GC_PR_FGD
    labels[:_EDGE_PX] = labels[-_EDGE_PX:] = labels[:, :_EDGE_PX] = labels[:, -_EDGE_PX:] = cv2.GC_BGD
    labels[standing_out > np.quantile(standing_out, _SURELY_SUBJECT)] = cv2.GC_FGD
    no_box, colour_models = (0, 0, 0, 0), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(0)  # its clustering draws random numbers: the same photo shall have the same subject
    cv2.grabCut(np.ascontiguousarray(rgb[..., ::-1]), labels, no_box, *colour_models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask = _large_pieces((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    return mask if _SMALLEST <= mask.mean() <= _LARGEST and _contrast(rgb, mask) >= _LEAST_CONTRAST else None


def place_weights(square: Image.Image, background_weight: float, *, height: int, width: int) -> np.ndarray:
    """How much each place of a picture counts in training, float32 [height, width] with a mean of 1.

    A place outside of the subject counts `background_weight` times as much as one that shows some of it; all count
    the same where no subject is found.
    """
    mask = subject_mask(square) if background_weight < 1 else None
    if mask is None:
        return np.ones((height, width), np.float32)
    shown = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
    weights = np.where(shown, 1.0, background_weight).astype(np.float32)
    return weights / weights.mean()


def _contrast(rgb: np.ndarray, mask: np.ndarray) -> float:
    """How far the mean colours inside and outside of a mask are apart, in CIELAB."""
    inside, outside = (to_lab(pixels.astype(np.float32)).mean(0) for pixels in (rgb[mask], rgb[~mask]))
    return float(np.linalg.norm(inside - outside))


def _large_pieces(mask: np.ndarray) -> np.ndarray:
    """Without stray spots, and with small holes filled."""
    whole = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(whole)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    if not len(sizes):
        return np.zeros_like(mask)
    kept = 1 + np.flatnonzero(sizes >= _SIDE_PIECE * sizes.max())
    return np.isin(pieces, kept)

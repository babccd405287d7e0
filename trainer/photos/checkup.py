"""Says in plain words whether photos are good enough to learn from: one verdict a photo, one for the set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from PIL import Image

MIN_PHOTOS, MAX_PHOTOS = 3, 200
SMALL_PX = 256
BLUR_LIMIT = 25.0
NEAR_DUPLICATE_SHARE = 0.2


class Verdict(StrEnum):
    """What becomes of one file."""

    ok = "ok"
    warning = "warning"
    refused = "refused"


class SetVerdict(StrEnum):
    """What becomes of the whole set."""

    ready = "ready"
    could_be_better = "could-be-better"
    not_usable = "not-usable"


@dataclass(frozen=True)
class SetReport:
    """The verdict on a set of photos, with sentences that say why."""

    verdict: SetVerdict
    reasons: tuple[str, ...]


def find_flaws(picture: Image.Image) -> list[str]:
    """What a person should know about one decoded RGB photo; empty when it is fine."""
    flaws: list[str] = []
    short = min(picture.size)
    if short < SMALL_PX:
        flaws.append(f"is small ({picture.width} x {picture.height} px); {SMALL_PX} px or more learn better")
    if max(picture.size) > 4 * short:
        flaws.append("is very long and narrow; most of it is cut off")
    grey = _working_grey(picture)
    if grey.std() < 4:
        flaws.append("shows hardly anything: nearly one flat colour")
    elif _sharpness(grey) < BLUR_LIMIT:
        flaws.append("is blurred")
    if grey.mean() < 22:
        flaws.append("is very dark")
    elif grey.mean() > 247:
        flaws.append("is nearly white")
    return flaws


def _working_grey(picture: Image.Image) -> np.ndarray:
    small = picture.convert("L")
    small.thumbnail((384, 384), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)


def _sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian in the sharpest ninth of the picture: a blurred background is no flaw."""
    edges = cv2.Laplacian(grey, cv2.CV_64F)
    rows = np.array_split(edges, 3, axis=0)
    return max(float(tile.var()) for row in rows for tile in np.array_split(row, 3, axis=1))


def fingerprint(picture: Image.Image) -> int:
    """A 256-bit difference hash: a bit is set where the picture gets lighter to the right."""
    small = np.asarray(picture.convert("L").resize((17, 16), Image.Resampling.BOX), dtype=np.int16)
    bits = (small[:, 1:] > small[:, :-1]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def looks_like(one: int, other: int) -> bool:
    """Whether two fingerprints belong to (nearly) the same photo.

    Measured by the bits that are set: where most of two pictures is one flat white, most bits agree anyway.
    """
    return (one ^ other).bit_count() <= NEAR_DUPLICATE_SHARE * (one | other).bit_count()


def judge_set(verdicts: Sequence[Verdict], duplicates: int) -> SetReport:
    """The verdict on a set, from its files' verdicts and the number of copies among them."""
    usable = sum(v is not Verdict.refused for v in verdicts)
    refused = len(verdicts) - usable
    if usable - duplicates < MIN_PHOTOS:
        found = f"{usable} can be used" + (f", {duplicates} of them a copy" if duplicates else "")
        return SetReport(SetVerdict.not_usable, (f"At least {MIN_PHOTOS} different photos are needed; {found}.",))
    if usable > MAX_PHOTOS:
        return SetReport(SetVerdict.not_usable, (f"At most {MAX_PHOTOS} photos are taken; these are {usable}.",))
    reasons: list[str] = []
    if refused:
        reasons.append(f"{refused} {'file was' if refused == 1 else 'files were'} left out.")
    warned = sum(v is Verdict.warning for v in verdicts)
    if warned:
        reasons.append(f"{warned} of {usable} photos could be better.")
    if reasons:
        return SetReport(SetVerdict.could_be_better, tuple(reasons))
    return SetReport(SetVerdict.ready, ())

"""What is measured, as pure functions of feature vectors.

All vectors are fp32 [pictures, width] of length 1, so a matrix product is a matrix of cosines.
"""

from __future__ import annotations

import torch


def mean_likeness_to(pictures: torch.Tensor, real: torch.Tensor, *, paired: bool = False) -> float:
    """Mean cosine of pictures to real pictures; `paired` leaves out each picture's own counterpart (the diagonal)."""
    cosines = pictures @ real.T
    if paired:
        cosines = cosines[~torch.eye(len(real), dtype=torch.bool)]
    return float(cosines.mean())


def likeness(mean_cosine: float, *, among_own: float, of_others: float) -> float:
    """A mean cosine to a subject's real pictures on the scale where 0 is what other subjects' pictures reach and 1 what
    real pictures of the subject reach among themselves; not clipped."""
    return (mean_cosine - of_others) / (among_own - of_others)

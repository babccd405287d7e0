"""What is measured, as pure functions of feature vectors.

All vectors are fp32 [pictures, width] of length 1, so a matrix product is a matrix of cosines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import normalize

LIMIT_QUANTILE = 0.95


def mean_cosine(pictures: torch.Tensor, real: torch.Tensor, counted: torch.Tensor | None = None) -> float:
    """Mean cosine of every picture to every real picture, or over the pairs of `counted`, bool [pictures, real]."""
    cosines = pictures @ real.T
    return float((cosines if counted is None else cosines[counted]).mean())


def mean_other_cosine(pictures: torch.Tensor, real: torch.Tensor) -> float:
    """The same where picture i is a version of real picture i, which is left out."""
    return float(_off_diagonal(pictures @ real.T).mean())


def likeness(cosine: float, *, among_own: float, of_others: float) -> float:
    """A mean cosine to a subject's real pictures on the scale where 0 is what other subjects' pictures reach and 1 what
    real pictures of the subject reach among themselves; not clipped."""
    return (cosine - of_others) / (among_own - of_others)


def subject_likeness(
    drawn: torch.Tensor,
    compare: torch.Tensor,
    train: torch.Tensor,
    others: torch.Tensor,
    *,
    drawn_differs: torch.Tensor | None = None,
    others_differ: torch.Tensor | None = None,
) -> float:
    """Likeness of drawn pictures to the real pictures that were kept from training; not clipped.

    0: the mean cosine that other subjects' pictures have to them. 1: the mean cosine between different real pictures of
    the subject, trained on or not. `drawn_differs` and `others_differ`, bool [pictures, compare], leave pairs out.
    """
    real = torch.cat([train, compare])
    return likeness(
        mean_cosine(drawn, compare, drawn_differs),
        among_own=mean_other_cosine(real, real),
        of_others=mean_cosine(others, compare, others_differ),
    )


def memorisation(drawn: torch.Tensor, train: torch.Tensor) -> float:
    """Mean, over drawn pictures, of the cosine to the nearest training picture."""
    return float((drawn @ train.T).max(dim=1).values.mean())


def share_over(drawn: torch.Tensor, train: torch.Tensor, limit: float) -> float:
    """Share of the drawn pictures whose cosine to the nearest training picture is over the limit."""
    return float(((drawn @ train.T).max(dim=1).values > limit).float().mean())


def memorisation_limit(train: torch.Tensor, compare: torch.Tensor) -> float:
    """The 95th percentile of the cosines between different real pictures of the subject.

    Above it, drawn pictures are nearer to a training picture than real pictures of the subject are to each other.
    """
    real = torch.cat([train, compare])
    return float(_off_diagonal(real @ real.T).quantile(LIMIT_QUANTILE))


def diversity(drawn: torch.Tensor) -> float:
    """Mean distance, 1 - cosine, between different pictures of one prompt."""
    return float(1 - _off_diagonal(drawn @ drawn.T).mean())


def drift(drawn: torch.Tensor, base: torch.Tensor) -> float:
    """Mean distance, 1 - cosine, of the learnt model's pictures to the base's, pair by pair on the same seeds and
    prompts, none of which names the concept. 0: the base is untouched."""
    return float(1 - (drawn * base).sum(1).mean())


def answers(drawn: Mapping[str, torch.Tensor], references: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """What each picture shows, by what it was asked to show: the answer whose references are nearest.

    `drawn` and `references` hold the pictures of every possible answer. Both sides are centred on their own mean (of
    equally many pictures an answer), which takes off the subject's own looks, and a picture gets the answer whose
    references' mean direction has the largest cosine with it.
    """
    names = list(references)
    centre = torch.stack([references[name].mean(0) for name in names]).mean(0)
    own_centre = torch.stack([drawn[name].mean(0) for name in names]).mean(0)
    directions = normalize(torch.stack([references[name].mean(0) for name in names]) - centre, dim=1)
    return {
        asked: [names[i] for i in (normalize(pictures - own_centre, dim=1) @ directions.T).argmax(1).tolist()]
        for asked, pictures in drawn.items()
    }


def share_right(given: Mapping[str, Sequence[str]], counting: Sequence[str]) -> float:
    """Share of the pictures of the counting answers that show what was asked; every answer weighs the same."""
    return sum(sum(g == asked for g in given[asked]) / len(given[asked]) for asked in counting) / len(counting)


def _off_diagonal(cosines: torch.Tensor) -> torch.Tensor:
    return cosines[~torch.eye(len(cosines), dtype=torch.bool)]

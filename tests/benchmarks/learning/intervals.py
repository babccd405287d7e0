"""Confidence intervals by bootstrap over subjects: how much a figure owes to the subjects that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
Statistic = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A figure and the bounds that hold it at the level of 95 %; equal to the figure where there is one subject."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap(by_subject: Mapping[str, Sequence[float]], statistic: Statistic) -> Interval:
    """The statistic over the subjects' means (each over its seeds); subjects are drawn anew, then seeds within them."""
    groups = [np.asarray(values, float) for values in by_subject.values()]
    value = float(statistic(np.array([group.mean() for group in groups])))
    if len(groups) == 1:
        return Interval(value, value, value)
    rng = np.random.default_rng(0)
    drawn = [
        float(statistic(np.array([rng.choice(groups[i], len(groups[i])).mean() for i in rows])))
        for rows in rng.integers(0, len(groups), (RESAMPLES, len(groups)))
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))

"""From the results of many cells to rows: one for each group, method, side and pace, and one for each comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.learning.intervals import Interval, bootstrap
from tests.benchmarks.learning.plan import Pace, Side

Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What one side's method reached in one group. Likenesses are medians over subjects, the rest are means."""

    group: str
    method: str
    side: str
    pace: str
    cells: int
    subjects: int
    likeness: Interval
    likeness_coarse: Interval
    prompt_following: Interval
    asked: dict[str, float]
    memorisation_over_limit: float
    """Mean of memorisation less its limit: at most 0 is wanted."""
    memorised: float
    """Share of cells whose memorisation is over its limit."""
    copies: float
    """Share of pictures that are nearer to a training picture than the limit."""
    diversity: float
    drift: float
    steps: float
    cost_s: float
    learning_rate: float


def summarise(results: Sequence[Result]) -> list[Row]:
    """One row for each group, method, side and pace that has results, in the order of their first result."""
    sets: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        sets.setdefault(tuple(str(result[n]) for n in ("group", "method", "side", "pace")), []).append(result)
    return [_row(names, found) for names, found in sets.items()]


def _row(names: tuple[str, ...], found: list[Result]) -> Row:
    group, method, side, pace = names
    over = [r["memorisation"] - r["memorisation_limit"] for r in found]
    return Row(
        group=group,
        method=method,
        side=side,
        pace=pace,
        cells=len(found),
        subjects=len({r["subject"] for r in found}),
        likeness=bootstrap(_by_subject(found, "likeness"), np.median),
        likeness_coarse=bootstrap(_by_subject(found, "likeness_coarse"), np.median),
        prompt_following=bootstrap(_by_subject(found, "prompt_following"), np.mean),
        asked={question: _mean([r["asked"][question] for r in found]) for question in found[0]["asked"]},
        memorisation_over_limit=_mean(over),
        memorised=_mean([value > 0 for value in over]),
        copies=_mean([r["copies"] for r in found]),
        diversity=_mean([r["diversity"] for r in found]),
        drift=_mean([r["drift"] for r in found]),
        steps=_mean([r["steps"] for r in found]),
        cost_s=_mean([r["cost_s"] for r in found]),
        learning_rate=_mean([r["values"]["learning_rate"] for r in found]),
    )


def _by_subject(results: Sequence[Result], figure: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for result in results:
        values.setdefault(result["subject"], []).append(result[figure])
    return values


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


@dataclass(frozen=True)
class Comparison:
    """Ours less theirs, subject by subject, at one pace; `time_ratio` is our time over theirs.

    At equal time our runs at equal steps stand beside theirs of the same time; at half time ours of half the time stand
    beside theirs at equal steps.
    """

    group: str
    method: str
    pace: str
    likeness: Interval
    likeness_coarse: Interval
    prompt_following: Interval
    time_ratio: float


def compare(results: Sequence[Result]) -> list[Comparison]:
    """One comparison for each group, method and pace in which both sides learnt the same subjects."""
    runs: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        names = tuple(str(result[n]) for n in ("side", "pace", "group", "method", "subject"))
        runs.setdefault(names, []).append(result)
    pairs: dict[tuple[str, str, str], list[tuple[Result, list[Result]]]] = {}
    for pace in Pace:
        our_pace, their_pace = pace.compared
        for (side, own_pace, group, method, subject), found in runs.items():
            ours = runs.get((Side.ours, our_pace, group, method, subject))
            if ours and (side, own_pace) == (Side.theirs, their_pace):
                pairs.setdefault((group, method, pace.value), []).extend((their, ours) for their in found)
    return [_comparison(names, found) for names, found in pairs.items()]


def _comparison(names: tuple[str, str, str], pairs: list[tuple[Result, list[Result]]]) -> Comparison:
    def difference(figure: str) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        for their, rivals in pairs:
            values.setdefault(their["subject"], []).append(_mean([r[figure] for r in rivals]) - their[figure])
        return values

    return Comparison(
        *names,
        likeness=bootstrap(difference("likeness"), np.median),
        likeness_coarse=bootstrap(difference("likeness_coarse"), np.median),
        prompt_following=bootstrap(difference("prompt_following"), np.mean),
        time_ratio=_mean([r["cost_s"] for _, rivals in pairs for r in rivals]) / _mean([t["cost_s"] for t, _ in pairs]),
    )


def dominated(likeness: float, prompt_following: float, others: Sequence[tuple[float, float]]) -> bool:
    """Whether another point is at least as good in both and better in one: such a point is not on the front."""
    return any(a >= likeness and b >= prompt_following and (a, b) != (likeness, prompt_following) for a, b in others)


def score(likeness: float, prompt_following: float) -> float:
    """One number for a point on the front: the harmonic mean, which neither figure can buy alone.

    Likeness counts as the share of the way from -1 to 1, so that values below 0 are told apart, too.
    """
    reached = min(1.0, max(0.0, (1 + likeness) / 2))
    total = reached + prompt_following
    return 2 * reached * prompt_following / total if total else 0.0

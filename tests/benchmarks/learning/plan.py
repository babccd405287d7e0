"""Which trainings a run consists of, and with which recipe each is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tests.benchmarks.learning.subjects import Subject
from trainer.bases import BaseTraits
from trainer.recipe.choices import Method
from trainer.recipe.presets import preset_values

OUR_SEEDS, THEIR_SEEDS = 3, 1
PHOTO_SEEDS = 1  # of real subjects, which would otherwise take as long as all drawn ones


class Side(StrEnum):
    """Who trains."""

    ours = "ours"
    theirs = "theirs"


class Pace(StrEnum):
    """How long: as many steps as the preset says, or as many as fit into the other side's time for those, or half."""

    equal_steps = "equal-steps"
    equal_time = "equal-time"
    """Theirs, in the time that we take for the preset's steps."""
    half_time = "half-time"
    """Ours, in half the time that they take for the preset's steps."""

    @property
    def compared(self) -> tuple[Pace, Pace]:
        """The paces of our runs and of theirs that are put beside each other at this one."""
        ours = Pace.half_time if self is Pace.half_time else Pace.equal_steps
        theirs = Pace.equal_time if self is Pace.equal_time else Pace.equal_steps
        return ours, theirs


@dataclass(frozen=True)
class Cell:
    """One training and its exam. `values` are the recipe's own field names, for either side."""

    subject: str
    method: Method
    seed: int
    side: Side = Side.ours
    pace: Pace = Pace.equal_steps
    values: Mapping[str, Any] = field(default_factory=dict)
    varied: str = ""
    """The recipe field that a sweep tries values of."""
    rival: Cell | None = None
    """The other side's cell at equal steps whose time this one is given, or half of it."""

    @property
    def key(self) -> str:
        """Names the cell and everything that its outcome follows from, as a folder."""
        digest = hashlib.sha256(json.dumps(self.values, sort_keys=True, default=str).encode()).hexdigest()[:8]
        return f"{self.subject}-{self.method}-{self.side}-{self.pace}-{self.seed}-{digest}"


@dataclass(frozen=True)
class Rates:
    """The learning rate that a sweep found best, by side, method and group; without one, the preset's own."""

    best: Mapping[str, float]

    def of(self, side: Side, method: Method, group: str) -> float | None:
        names = (rate_key(side, method, group), rate_key(side, method, "drawn"))
        return next((self.best[name] for name in names if name in self.best), None)


def rate_key(side: Side, method: Method, group: str) -> str:
    return f"{side} {method} {group}"


@dataclass(frozen=True)
class Wanted:
    """What a run is asked to cover; `overrides` are recipe values for every cell."""

    subjects: Sequence[Subject]
    methods: Sequence[Method]
    our_seeds: int = OUR_SEEDS
    their_seeds: int = THEIR_SEEDS
    photo_seeds: int = PHOTO_SEEDS
    overrides: Mapping[str, Any] = field(default_factory=dict)


def recipe_values(
    subject: Subject, method: Method, side: Side, traits: BaseTraits, rates: Rates, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """The preset with the side's best learning rate; both sides start from the same."""
    values = preset_values(method, subject.kind, traits)
    for plain in ("method", "kind", "class_word", "keep_checkpoints"):  # the last of these teaches nothing
        values.pop(plain, None)
    values |= {"preview_every_steps": 0, "checkpoint_every_steps": 0}  # neither side spends time on them
    rate = rates.of(side, method, subject.group)
    return values | ({"learning_rate": rate} if rate else {}) | dict(overrides)


def standard_phases(wanted: Wanted, traits: BaseTraits, rates: Rates) -> list[list[Cell]]:
    """The cells of a run, in phases: a phase's cells may need figures of earlier phases, never of their own.

    Every subject's first seed comes first, on both sides one after the other: so a run that is cut short still compares
    all, and what is put side by side is from one machine, at the pace that it had then.
    """

    def cells(side: Side, seeds: range) -> list[Cell]:
        return [
            Cell(s.name, m, seed, side, values=recipe_values(s, m, side, traits, rates, wanted.overrides))
            for seed in seeds
            for s in wanted.subjects
            if s.group != "photo" or seed < wanted.photo_seeds
            for m in wanted.methods
        ]

    first, later = cells(Side.ours, range(1)), cells(Side.ours, range(1, wanted.our_seeds))
    theirs = cells(Side.theirs, range(wanted.their_seeds))
    ours_of = {(cell.subject, cell.method): cell for cell in first}
    timed: list[Cell] = []
    for cell in theirs:
        ours = ours_of[cell.subject, cell.method]
        if cell.seed == 0:
            timed.append(replace(ours, pace=Pace.half_time, rival=cell))
        timed.append(replace(cell, pace=Pace.equal_time, rival=ours))
    return [phase for phase in (_side_by_side(first, theirs), timed, later) if phase]


def _side_by_side(ours: Sequence[Cell], theirs: Sequence[Cell]) -> list[Cell]:
    """First seeds by subject and method, and each followed by the other side's where it has one."""
    rivals = {(c.subject, c.method): c for c in theirs if c.seed == 0}
    others = [c for c in theirs if c.seed != 0]
    pairs = ((c, rivals.get((c.subject, c.method))) for c in ours)
    return [cell for pair in pairs for cell in pair if cell is not None] + others

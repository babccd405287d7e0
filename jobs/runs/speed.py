"""What jobs take on this machine: measured from the runs that finished here, never guessed twice."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from jobs.runs.memory_need import PeakMemory
from jobs.runs.progress import Progress
from trainer.recipe.choices import STARTER
from trainer.recipe.config import TrainConfig
from trainer.whole_files import write_whole

# Seconds per picture of the starter on two cores, and around training (start, export, verification): measured once,
# see tests/benchmarks/RESULTS.md. They stand in only until a first run of the kind has finished on this machine.
_FIRST_GUESS_S_PER_PICTURE = {"textual-inversion": 0.025, "dreambooth-lora": 0.04, "dreambooth": 0.031}
_AROUND_S = 30.0
_WARM_AFTER_STEPS = 20  # the first steps are slow: a run of fewer says little beside what a longer one measured

_Known = dict[str, tuple[float, float]]
"""Seconds per picture, and around training, of each (method, base, size)."""
_KNOWN = TypeAdapter(_Known)


class Estimate(NamedTuple):
    """How long a run will take, and whether that was measured here or is a guess."""

    seconds: float
    measured: bool


class Speeds:
    """Seconds per picture, and around training, of each (method, base, size), in one small file of the data root."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.memory = PeakMemory(file.with_stem(f"{file.stem}-memory"))

    def learn(self, recipe: TrainConfig, progress: Progress) -> None:
        """Take over what a finished run measured."""
        self.memory.learn(recipe, progress)
        if progress.steps_per_second > 0 and progress.seconds is not None:
            known, steps = self._read(), recipe.steps - progress.resumed_from
            if steps < _WARM_AFTER_STEPS and _key(recipe) in known:
                return
            training_s = steps / progress.steps_per_second
            around = max(0.0, progress.seconds - training_s)
            known[_key(recipe)] = (1 / progress.steps_per_second / _pictures(recipe), around)
            write_whole(self._file, json.dumps(known, indent=2))

    def seconds_for(self, recipe: TrainConfig) -> float | None:
        """Seconds that the whole run will take; None if nothing is known."""
        estimate = self.estimate(recipe)
        return estimate.seconds if estimate is not None else None

    def estimate(self, recipe: TrainConfig) -> Estimate | None:
        """How long the whole run will take; None if nothing is known."""
        known = self._read()
        measured = known.get(_key(recipe))
        if measured is not None:
            return Estimate(measured[0] * _pictures(recipe) * recipe.steps + measured[1], measured=True)
        guess = _FIRST_GUESS_S_PER_PICTURE[recipe.method.value]
        if recipe.base == STARTER:
            seconds = (guess * _pictures(recipe) * recipe.steps + _AROUND_S) * _slowness(known, recipe)
            return Estimate(seconds, measured=False)
        return None

    def _read(self) -> _Known:
        """What is known; nothing where the file is missing or damaged."""
        try:
            return _KNOWN.validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return {}


def speeds_of(folder: Path, flavor: str) -> Speeds:
    """What was measured on a machine of Hugging Face; apart from the speeds of one's own."""
    return Speeds(folder / f"speeds-{flavor}.json")


def _slowness(known: _Known, recipe: TrainConfig) -> float:
    """How many times as long as guessed the other methods took here: the median of those that were measured."""
    keys = {_key(recipe, method): guess for method, guess in _FIRST_GUESS_S_PER_PICTURE.items()}
    return statistics.median([known[key][0] / guess for key, guess in keys.items() if key in known] or [1.0])


def _pictures(recipe: TrainConfig) -> int:
    """Pictures that one step of the recipe computes on."""
    has_prior = recipe.weight_of_prior > 0
    return recipe.batch_size * recipe.gradient_accumulation * (2 if has_prior else 1)


def _key(recipe: TrainConfig, method: str | None = None) -> str:
    """Where the speed of a recipe is kept, or of another method on the same base and size."""
    return f"{method or recipe.method.value} {recipe.base} {recipe.resolution_px}px"

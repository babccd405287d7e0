"""One thread for torch, and whole runs on tiny models as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.prepared_photos import take_prepared
from trainer.engine.context import RunContext
from trainer.engine.run import run_training
from trainer.events import Event
from trainer.machine.process import StopKind, StopSignal
from trainer.prepare import prepare_run
from trainer.recipe.build import build_recipe
from trainer.run_folder import RunFolder

torch.set_num_threads(1)

Prepare = Callable[..., RunFolder]
METHODS = ("textual-inversion", "dreambooth-lora", "dreambooth")
SMALL: dict[str, Any] = {
    "name": "red-mug",
    "kind": "object",
    "class_word": "teapot",
    "resolution_px": 64,
    "steps": 6,
    "learning_rate": 1e-3,
    "batch_size": 2,
    "preview_every_steps": 0,  # a third of a run's time, at these sizes
    "checkpoint_every_steps": 3,
    "precision": "fp32",
}
PREVIEWED: dict[str, Any] = {"preview_every_steps": 3, "preview_count": 1}
"""For tests that look at the previews."""


class StopAt(StopSignal):
    """A stop request that comes by itself after a number of looks at it."""

    def __init__(self, looks: int, kind: StopKind = StopKind.checkpoint) -> None:
        super().__init__()
        self._looks, self._kind = looks, kind

    def requested(self) -> bool:
        self._looks -= 1
        if self._looks <= 0:
            self.kind = self._kind
        return super().requested()


def small_recipe(base: Path, method: str, **changes: Any) -> Any:
    return build_recipe({**SMALL, "method": method, "base": str(base), **changes})


def go_on(run: RunFolder, cache: Path, stop: StopSignal | None = None) -> list[Event]:
    """Train a prepared run in this process; the events are returned and kept in the folder."""
    events: list[Event] = []

    def emit(event: Event, /) -> None:
        events.append(event)
        run.events(event)

    run_training(run, RunContext(emit, stop or StopSignal(), cache))
    return events


@pytest.fixture
def prepared(tmp_path: Path, photo_folder: Path) -> Prepare:
    """Makes a run folder that nothing was trained in yet."""

    def prepare(base: Path, method: str, name: str = "run", **changes: Any) -> RunFolder:
        recipe = small_recipe(base, method, **changes)
        run, _ = prepare_run(tmp_path / name, recipe, partial(take_prepared, photo_folder))
        return run

    return prepare


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"

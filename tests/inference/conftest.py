"""Trained concepts to make pictures with: one of each method, on one tiny base."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.engine.conftest import cache, go_on, prepared, small_recipe  # noqa: F401 - two are fixtures
from tests.prepared_photos import take_prepared
from tests.tiny_models import build_tiny_model
from trainer.prepare import prepare_run
from trainer.run_folder import RunFolder


class Concepts(dict[str, RunFolder]):
    """method -> finished run, trained when it is first asked for.

    "other-base" is a textual inversion that was trained on another model.
    """

    def __init__(self, root: Path, base: Path, photos: Path) -> None:
        super().__init__()
        self._root, self._base, self._photos = root, base, photos

    def __missing__(self, name: str) -> RunFolder:
        base, method = self._base, name
        if name == "other-base":
            base, method = build_tiny_model(self._root / "other-model", seed=1), "textual-inversion"
        recipe = small_recipe(base, method, learning_rate=0.05, checkpoint_every_steps=0, preview_every_steps=0)
        run, _ = prepare_run(self._root / name, recipe, partial(take_prepared, self._photos))
        go_on(run, self._root / "cache")
        self[name] = run
        return run


@pytest.fixture(scope="session")
def concepts(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, photo_folder: Path) -> Concepts:
    return Concepts(tmp_path_factory.mktemp("concepts"), tiny_model, photo_folder)

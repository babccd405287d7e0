"""Trained concepts to make pictures with: one of each method, on one tiny base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import cache, go_on, prepared, small_recipe  # noqa: F401 - two are fixtures
from trainer.photos.intake import take_folder
from trainer.prepare import prepare_run
from trainer.run_folder import RunFolder


@pytest.fixture(scope="session")
def concepts(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, photo_folder: Path) -> dict[str, RunFolder]:
    """method -> finished run; "other-base" is a textual inversion that was trained on another model."""
    from tests.tiny_models import build_tiny_model

    root = tmp_path_factory.mktemp("concepts")
    other = build_tiny_model(root / "other-model", seed=1)
    wanted = {m: (tiny_model, m) for m in ("textual-inversion", "dreambooth-lora", "dreambooth")}
    wanted["other-base"] = (other, "textual-inversion")
    runs: dict[str, RunFolder] = {}
    for name, (base, method) in wanted.items():
        recipe = small_recipe(base, method, learning_rate=0.05, checkpoint_every_steps=0, preview_every_steps=0)
        runs[name], _ = prepare_run(root / name, recipe, lambda folder: take_folder(photo_folder, folder))
        go_on(runs[name], root / "cache")
    return runs

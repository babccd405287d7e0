"""A finished run as the engine leaves it, made without training: files, hashes and manifest are real."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from tests.prepared_photos import take_prepared
from trainer.artifact import describe_artifact, write_manifest
from trainer.prepare import prepare_run
from trainer.recipe.build import build_recipe
from trainer.run_folder import RunFolder

BASE: dict[str, Any] = {"name": "red-mug", "kind": "object", "class_word": "mug", "steps": 6, "resolution_px": 64}


def write_finished_run(root: Path, photo_folder: Path, **values: Any) -> RunFolder:
    """Write RUN_DIR with photos, previews of two steps and an artifact of one large and one small file."""
    recipe = build_recipe({**BASE, "method": "textual-inversion", "learning_rate": 0.01, **values})
    run, _ = prepare_run(root, recipe, partial(take_prepared, photo_folder))
    run.previews.mkdir()
    for step, colour in ((0, "grey"), (3, "pink"), (6, "red")):
        for number in range(2):
            Image.new("RGB", (64, 64), colour).save(run.previews / f"step-{step:06d}-{number}.png")
    run.artifact.mkdir()
    (run.artifact / "learned_embeds.safetensors").write_bytes(bytes(range(256)) * 40)
    (run.artifact / f"{recipe.name}.safetensors").write_bytes(b"\0embedding\0" * 100)
    (run.artifact / "notes.json").write_text("{}")
    versions = {"torch": "2.13.0", "diffusers": "0.42.1"}
    manifest = describe_artifact(recipe, run.artifact, "0123456789abcdef", steps=recipe.steps, versions=versions)
    write_manifest(run.artifact, manifest)
    return run

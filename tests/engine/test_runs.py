"""Whole runs of every method on tiny real models, in this process: what they leave; plain diffusers opens it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.engine.conftest import METHODS, PREVIEWED, Prepare, go_on, small_recipe
from tests.engine.plain_pipelines import files_in, picture, plain_pipeline
from trainer.artifact import check_hashes, read_manifest, sha256_of
from trainer.engine.export import verify
from trainer.engine.families import Family, StockPipeline, opening
from trainer.engine.run import verify_run
from trainer.errors import VerificationError
from trainer.events import (
    CheckpointWritten,
    Finished,
    Phase,
    PhaseChanged,
    Preview,
    Started,
    Step,
    Warned,
)
from trainer.photos.intake import take_folder
from trainer.prepare import prepare_run
from trainer.run_folder import MANIFEST_FILE

ARTIFACT = {
    "textual-inversion": {"learned_embeds.safetensors", "red-mug.safetensors"},
    "dreambooth-lora": {"pytorch_lora_weights.safetensors", "red-mug.safetensors"},
    "dreambooth": {
        "red-mug.safetensors",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    },
}


@pytest.mark.parametrize(
    ("which", "method"),
    [
        *(("tiny_model", method) for method in METHODS),
        ("tiny_v_model", "dreambooth-lora"),
        *(pytest.param("tiny_v_model", m, marks=pytest.mark.slow) for m in ("textual-inversion", "dreambooth")),
    ],
)
def test_run_leaves_exactly_its_files_and_plain_diffusers_opens_them(
    method: str, which: str, prepared: Prepare, cache: Path, request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(which)
    run = prepared(base, method, **PREVIEWED)
    events = go_on(run, cache)

    assert files_in(run.artifact) == ARTIFACT[method] | {MANIFEST_FILE}
    assert {f.name for f in run.root.iterdir()} == {
        "config.json", "photos", "events.jsonl", "checkpoints", "previews", "artifact"
    }  # fmt: skip
    assert files_in(run.previews) == {f"step-{n:06d}-0.png" for n in (0, 3, 6)}
    assert sorted(f.name for f in run.checkpoints.iterdir()) == ["step-000003", "step-000006"]

    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    assert {f.path for f in manifest.files} == ARTIFACT[method]
    assert manifest.steps == 6
    assert manifest.recipe == run.read_recipe().model_dump(mode="json")
    words = "<red-mug>" if method == "textual-inversion" else "red-mug teapot"
    assert manifest.trained_words.startswith(words)
    pixels = picture(plain_pipeline(run, base), f"a photo of {words}")
    assert np.isfinite(pixels).all()
    assert pixels.std() > 0.01

    assert isinstance(events[-1], Finished)
    phases = list(dict.fromkeys(e.phase for e in events if isinstance(e, PhaseChanged)))
    assert phases == [Phase.prepare, Phase.cache, Phase.train, Phase.export, Phase.verify]
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 4, 5, 6]
    assert [e.step for e in events if isinstance(e, Preview)] == [0, 3, 6]
    assert [e.step for e in events if isinstance(e, CheckpointWritten)] == [3, 6]
    started = next(e for e in events if isinstance(e, Started))
    assert started.attention == "plain matrix products"
    assert started.versions["diffusers"]
    verify_run(run, cache)


@pytest.mark.parametrize("method", METHODS)
def test_base_that_is_stored_in_half_precision_is_trained_and_verified(
    method: str, prepared: Prepare, tiny_v_model: Path, cache: Path, tmp_path: Path
) -> None:
    base = tmp_path / "half"
    shutil.copytree(tiny_v_model, base)
    config = base / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float16"}))  # as most on the Hub say
    run = prepared(base, method, steps=1, preview_every_steps=0)
    go_on(run, cache)
    verify_run(run, cache)
    assert str(tmp_path) not in "".join(file.read_text() for file in run.artifact.glob("*/config.json"))


def test_base_is_gone_from_memory_when_a_copy_of_it_is_verified(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    families: list[Family] = []

    def open_family(*where: Any, **how: Any) -> Family:
        families.append(opening.open_family(*where, **how))
        return families[-1]

    def open_artifact(*what: Any, **how: Any) -> StockPipeline:
        (family,) = families
        parts: list[torch.nn.Module] = [family.unet, family.vae, *family.text_encoders.values()]
        assert not any(p.numel() for part in parts for p in part.parameters() if not p.requires_grad)
        return verify.open_artifact(*what, **how)

    monkeypatch.setattr("trainer.engine.run.open_family", open_family)
    monkeypatch.setattr("trainer.engine.export.write.open_artifact", open_artifact)
    events = go_on(prepared(tiny_model, "dreambooth-lora", steps=1, ema_decay=0.9), cache)
    assert isinstance(events[-1], Finished)


def test_artifact_is_hashed_once(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full XL model is two files of 7 GB: reading them again would be felt."""
    hashed: list[str] = []
    monkeypatch.setattr("trainer.artifact.sha256_of", lambda file: hashed.append(file.name) or sha256_of(file))
    go_on(prepared(tiny_model, "textual-inversion", steps=1, checkpoint_every_steps=0), cache)
    assert sorted(hashed) == sorted(ARTIFACT["textual-inversion"])


def test_changed_artifact_is_found_out(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion")
    go_on(run, cache)
    file = run.artifact / "learned_embeds.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="has changed"):
        verify_run(run, cache)


def test_run_without_previews_or_checkpoints_leaves_none(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", preview_every_steps=0, checkpoint_every_steps=0)
    events = go_on(run, cache)
    assert not run.previews.exists()
    assert not run.checkpoints.exists()
    assert isinstance(events[-1], Finished)


def test_subjects_are_told_from_their_backgrounds_where_the_recipe_asks(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    def trained(name: str, **changes: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
        run = prepared(tiny_model, "dreambooth-lora", name, **changes)
        warnings = [event.text for event in go_on(run, cache) if isinstance(event, Warned)]
        return load_file(run.artifact / "red-mug.safetensors"), [text for text in warnings if "plain colours" in text]

    def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(one[name], other[name]) for name in one)

    photos, _ = trained("photos")
    plain, said = trained("plain", plain_background_share=0.9)
    assert said == []
    assert not are_equal(photos, plain)
    assert not are_equal(photos, trained("weighted", background_weight=0.1)[0])


def test_colour_that_many_vectors_push_out_of_reach_is_said_once(
    prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    settings = base / "tokenizer" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 40}))  # as the starter's

    def warnings(name: str, vectors: int) -> list[str]:
        changes = {"vectors": vectors, "name_background": False, "plain_background_share": 0.5, "steps": 1}
        events = go_on(prepared(base, "textual-inversion", name, **changes), cache)
        return [event.text for event in events if isinstance(event, Warned)]

    assert warnings("few", 4) == []
    assert warnings("many", 31) == [
        "A photo's words are longer than the base can read; what follows their first 38 tokens is left out."
    ]


def test_photos_without_a_subject_are_trained_on_alone_and_that_is_said(
    tiny_model: Path, cache: Path, tmp_path: Path
) -> None:
    source = tmp_path / "from"
    source.mkdir()
    for number in range(3):
        waves = np.sin(np.linspace(0, 60 + 20 * number, 300)) * 40 + 128
        Image.fromarray(np.tile(waves, (300, 1)).astype(np.uint8)).convert("RGB").save(source / f"{number}.png")
    recipe = small_recipe(tiny_model, "textual-inversion", plain_background_share=0.5)
    run, _ = prepare_run(tmp_path / "run", recipe, lambda folder: take_folder(source, folder))
    events = go_on(run, cache)
    assert any(isinstance(event, Warned) and "No subject is shown on plain colours" in event.text for event in events)
    assert isinstance(events[-1], Finished)


def test_full_model_is_verified_without_the_base_that_it_came_from(
    prepared: Prepare, tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    run = prepared(base, "dreambooth", steps=1, preview_every_steps=0)
    go_on(run, cache)
    shutil.rmtree(base)
    verify_run(run, cache)
    assert not base.exists()

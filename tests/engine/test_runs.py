"""Whole runs of every method on tiny real models, in this process: what they leave; plain diffusers opens it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.conftest import PREVIEWED, StopAt, go_on
from trainer.artifact import MANIFEST_FILE, check_hashes, read_manifest
from trainer.engine import loop
from trainer.engine.run import verify_run
from trainer.errors import TrainingError, TrainingStopped, VerificationError
from trainer.events import (
    CheckpointWritten,
    Finished,
    Phase,
    PhaseChanged,
    Preview,
    Started,
    Step,
    Stopped,
    Warned,
)
from trainer.process import StopKind
from trainer.run_folder import RunFolder

Prepare = Callable[..., RunFolder]
METHODS = ("textual-inversion", "dreambooth-lora", "dreambooth")
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


def files_in(folder: Path) -> set[str]:
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


def plain_pipeline(run: RunFolder, base: Path) -> StableDiffusionPipeline:
    """As a stranger would open it: stock diffusers, no dtype, none of our code."""
    manifest = json.loads((run.artifact / MANIFEST_FILE).read_text())
    source = run.artifact if manifest["method"] == "dreambooth" else base
    pipeline = StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    if manifest["method"] == "textual-inversion":
        pipeline.load_textual_inversion(str(run.artifact / "learned_embeds.safetensors"))
    if manifest["method"] == "dreambooth-lora":
        pipeline.load_lora_weights(str(run.artifact))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def picture(pipeline: StableDiffusionPipeline, words: str) -> np.ndarray:
    made: Any = pipeline(
        words, num_inference_steps=2, height=64, width=64, output_type="np", generator=torch.manual_seed(0)
    )
    return made.images[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("which", ["tiny_model", "tiny_v_model"])
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


@pytest.mark.parametrize("method", METHODS)
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    method: str, prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    options: dict[str, Any] = {
        "steps": 7,
        "checkpoint_every_steps": 2,
        "ema_decay": 0.9,
        "min_snr_gamma": 5.0,
        **PREVIEWED,
    }
    if method != "textual-inversion":
        options |= {"text_encoder_share": 0.5, "prior_weight": 1.0, "class_images": 3}
    whole = prepared(tiny_model, method, "whole", **options)
    go_on(whole, cache)
    broken = prepared(tiny_model, method, "broken", **options)
    with pytest.raises(TrainingStopped):
        go_on(broken, cache, StopAt(60 if method == "textual-inversion" else 66))
    stopped_at = max(int(f.name[-6:]) for f in broken.checkpoints.iterdir())
    assert 0 < stopped_at < 7
    events = go_on(broken, cache)
    assert next(e for e in events if isinstance(e, Started)).resumed_from == stopped_at
    assert [e.step for e in events if isinstance(e, Step)] == list(range(stopped_at + 1, 8))
    for file in files_in(whole.artifact):
        if file.endswith(".safetensors"):
            one, other = load_file(whole.artifact / file), load_file(broken.artifact / file)
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one), file
    for file in files_in(whole.previews):
        assert (whole.previews / file).read_bytes() == (broken.previews / file).read_bytes(), file


def test_textual_inversion_trains_its_rows_and_nothing_else(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", vectors=3)
    go_on(run, cache)
    learnt = load_file(run.artifact / "learned_embeds.safetensors")
    assert learnt.keys() == {"<red-mug>"}
    assert learnt["<red-mug>"].shape == (3, 32)
    optimizer = torch.load(run.checkpoints / "step-000006" / "optimizer.pt", weights_only=True)["optimizer"]
    assert [s["exp_avg"].shape for s in optimizer["state"].values()] == [(3, 32)]
    pipeline = plain_pipeline(run, tiny_model)
    base = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    table = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(table[:-3], base.text_encoder.get_input_embeddings().weight)
    assert torch.equal(table[-3:], learnt["<red-mug>"])
    assert pipeline.tokenizer.tokenize("a <red-mug> <red-mug>_2") == ["a</w>", "<red-mug>", "<red-mug>_2"]


def test_rows_start_from_the_class_word_and_move(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=1, vectors=2, learning_rate=1e-5, weight_decay=0.0)
    go_on(run, cache)
    base = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    (word,) = base.tokenizer("teapot", add_special_tokens=False).input_ids
    start = base.text_encoder.get_input_embeddings().weight[word]
    rows = load_file(run.artifact / "learned_embeds.safetensors")["<red-mug>"]
    assert torch.allclose(rows[0], start, atol=2e-5)
    assert not torch.equal(rows[0], start)
    assert not torch.allclose(rows[1], start, atol=2e-5)  # a twin would never part from the first row


def test_lora_keeps_its_alpha_and_adapts_the_text_encoder_if_asked(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", rank=4, alpha=2, text_encoder_share=1.0)
    go_on(run, cache)
    file = run.artifact / "pytorch_lora_weights.safetensors"
    names = load_file(file).keys()
    assert any(n.startswith("unet.") for n in names)
    text = [n for n in names if n.startswith("text_encoder.")]
    assert text
    assert all(n.startswith("text_encoder.text_model.") for n in text)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()["lora_adapter_metadata"]
    assert json.loads(metadata)["unet.lora_alpha"] == 2
    assert str(tiny_model) not in metadata
    told = {"r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern"}  # what peft of any version knows
    assert set(json.loads(metadata)) == {f"{part}.{key}" for part in ("unet", "text_encoder") for key in told}
    pipeline = plain_pipeline(run, tiny_model)
    assert {(c.r, c.lora_alpha) for m in (pipeline.unet, pipeline.text_encoder) for c in m.peft_config.values()} == {
        (4, 2)
    }


def test_lora_on_all_layers_is_read_back_by_diffusers(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", adapted_layers="all", text_encoder_share=1.0)
    go_on(run, cache)
    (adapter,) = plain_pipeline(run, tiny_model).unet.peft_config.values()
    assert {"conv1", "conv2", "to_q"} <= {name.rsplit(".", 1)[-1] for name in adapter.target_modules}


def test_full_model_learns_the_text_encoder_for_its_share_only(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    def text_weights(share: float, steps: int) -> dict[str, torch.Tensor]:
        run = prepared(tiny_model, "dreambooth", f"s{share}-{steps}", text_encoder_share=share, steps=steps)
        go_on(run, cache)
        return load_file(run.artifact / "text_encoder" / "model.safetensors")

    frozen, half, short = text_weights(0.0, 6), text_weights(0.5, 6), text_weights(1.0, 3)
    base = load_file(tiny_model / "text_encoder" / "model.safetensors")
    assert all(torch.equal(frozen[n], base[n].half()) for n in base)
    assert any(not torch.equal(half[n], base[n].half()) for n in base)
    assert all(torch.equal(half[n], short[n]) for n in base)  # three steps of six are the same three steps


def test_class_pictures_are_generated_once_and_shared(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    options = {"prior_weight": 1.0, "class_images": 3}
    events = go_on(prepared(tiny_model, "dreambooth", "one", **options), cache)
    assert any(isinstance(e, PhaseChanged) and e.phase is Phase.class_images for e in events)
    made = sorted((cache / "class-images").rglob("*.png"))
    assert len(made) == 3
    times = [f.stat().st_mtime_ns for f in made]
    events = go_on(prepared(tiny_model, "dreambooth-lora", "two", **{**options, "class_images": 5}), cache)
    assert [f.stat().st_mtime_ns for f in made] == times
    assert len(list((cache / "class-images").rglob("*.png"))) == 5
    made[1].write_bytes(b"")  # as a power loss leaves it
    go_on(prepared(tiny_model, "dreambooth-lora", "three", **options), cache)
    changed = [file for file, then in zip(made, times, strict=True) if file.stat().st_mtime_ns != then]
    assert changed == [made[1]]
    assert made[1].stat().st_size > 0


def test_own_class_pictures_are_used(prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(2):
        Image.new("RGB", (80, 60), (90 * number, 40, 40)).save(tmp_path / "mine" / f"{number}.jpg")
    run = prepared(tiny_model, "dreambooth", prior_weight=1.0, class_images_dir=tmp_path / "mine")
    read = [e for e in go_on(run, cache) if isinstance(e, PhaseChanged) and e.phase is Phase.class_images]
    assert [(e.done, e.total) for e in read] == [(1, 2), (2, 2)]
    assert not (cache / "class-images").exists()


def test_folder_without_class_pictures_fails_in_words(
    prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(TrainingError, match="no usable class picture"):
        go_on(prepared(tiny_model, "dreambooth", prior_weight=1.0, class_images_dir=tmp_path / "none"), cache)


def test_stop_before_the_first_step_keeps_nothing(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    for looks in (3, 12, 15):  # while photos are encoded, measured, and drawn before training
        run = prepared(tiny_model, "dreambooth-lora", f"run-{looks}", steps=50, **PREVIEWED)
        with pytest.raises(TrainingStopped, match="before the first step"):
            go_on(run, cache, StopAt(looks, StopKind.keep))
        assert not run.artifact.exists()


def test_word_that_the_base_knows_is_warned_of(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    def warnings(method: str, name: str) -> list[str]:
        run = prepared(tiny_model, method, f"{method}-{name}", steps=1)
        run.write_recipe(run.read_recipe().model_copy(update={"name": name}))
        return [event.text for event in go_on(run, cache) if isinstance(event, Warned)]

    assert warnings("dreambooth-lora", "object") == [
        "“object” is a word that the base knows; its old meaning will shine through."
    ]
    assert warnings("dreambooth-lora", "red-mug") == warnings("textual-inversion", "object") == []


def test_stop_keeps_a_checkpoint_and_says_so(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", checkpoint_every_steps=0, preview_every_steps=0, steps=50)
    with pytest.raises(TrainingStopped) as stopped:
        go_on(run, cache, StopAt(12))
    assert (run.checkpoints / f"step-{stopped.value.step:06d}").is_dir()
    assert not run.artifact.exists()
    last = list(run.events_file.read_text().splitlines())[-1]
    assert json.loads(last)["event"] == "stopped"


def test_stop_and_keep_exports_what_was_learnt_and_resume_goes_on(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=8, preview_every_steps=0)
    with pytest.raises(TrainingStopped) as stopped:
        go_on(run, cache, StopAt(12, StopKind.keep))
    manifest = read_manifest(run.artifact)
    assert manifest.steps == stopped.value.step < 8
    verify_run(run, cache)
    events = go_on(run, cache)
    assert isinstance(events[-1], Finished)
    assert read_manifest(run.artifact).steps == 8


def test_stop_and_keep_exports_what_an_earlier_start_learnt(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=8, preview_every_steps=0)
    with pytest.raises(TrainingStopped) as first:
        go_on(run, cache, StopAt(12))
    for looks in (1, 3):  # while the resumed run is still preparing
        with pytest.raises(TrainingStopped) as second:
            go_on(run, cache, StopAt(looks, StopKind.keep))
        assert second.value.step == first.value.step
        assert read_manifest(run.artifact).steps == first.value.step


def test_stop_while_photos_are_encoded_ends_at_once(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth")
    with pytest.raises(TrainingStopped) as stopped:
        go_on(run, cache, StopAt(1))
    assert stopped.value.step == 0
    assert any(isinstance(e, Finished) for e in go_on(run, cache))


@pytest.mark.fault(19)
def test_infinite_loss_rewinds_with_half_the_rate(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", steps=6, checkpoint_every_steps=2, schedule="constant")
    real, spoilt = loop.forward, []

    def forward(training: loop.Training, *, step: int, number: int) -> torch.Tensor:
        loss = real(training, step=step, number=number)
        if step == 3 and not spoilt:
            spoilt.append(step)
            return loss * float("nan")
        return loss

    monkeypatch.setattr(loop, "forward", forward)
    events = go_on(run, cache)
    assert any(isinstance(e, Warned) and "infinite at step 4" in e.text for e in events)
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 3, 4, 5, 6]
    rates = [e.lr for e in events if isinstance(e, Step)]
    assert rates[3:] == [rates[0] / 2] * 4
    assert isinstance(events[-1], Finished)


@pytest.mark.fault(19)
def test_loss_that_stays_infinite_fails_with_advice(
    prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path
) -> None:
    spoilt = Path(shutil.copytree(tiny_model, tmp_path / "spoilt"))
    weights = load_file(spoilt / "unet" / "diffusion_pytorch_model.safetensors")
    weights["conv_in.bias"][0] = float("inf")
    save_file(weights, spoilt / "unet" / "diffusion_pytorch_model.safetensors")
    run = prepared(spoilt, "textual-inversion", preview_every_steps=0)
    with pytest.raises(TrainingError, match=r"4 times.*lower learning rate"):
        go_on(run, cache)
    assert not run.artifact.exists()
    assert not run.checkpoints.exists()


@pytest.mark.fault(20)
def test_damaged_newest_checkpoint_falls_back_and_says_so(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=9, **PREVIEWED)
    with pytest.raises(TrainingStopped):
        go_on(run, cache, StopAt(40))
    newest = max(run.checkpoints.iterdir())
    (newest / "weights.safetensors").write_bytes(b"")
    events = go_on(run, cache)
    assert any(isinstance(e, Warned) and "damaged" in e.text for e in events)
    assert isinstance(events[-1], Finished)


def test_changed_artifact_is_found_out(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion")
    go_on(run, cache)
    file = run.artifact / "learned_embeds.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="has changed"):
        verify_run(run, cache)


def test_gradient_checkpointing_and_accumulation_train(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", gradient_checkpointing=True, gradient_accumulation=3, steps=3)
    assert isinstance(go_on(run, cache)[-1], Finished)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_keeps_fp32_masters(method: str, prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, method, precision="bf16", steps=3)
    go_on(run, cache)
    weights = load_file(run.checkpoints / "step-000003" / "weights.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.float32}


def test_run_without_previews_or_checkpoints_leaves_none(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", preview_every_steps=0, checkpoint_every_steps=0)
    events = go_on(run, cache)
    assert not run.previews.exists()
    assert not run.checkpoints.exists()
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(e, Stopped) for e in events)

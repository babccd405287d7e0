"""Runs that do not go straight to their end: stopped, resumed, rewound."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.conftest import PREVIEWED, Prepare, StopAt, go_on
from tests.engine.plain_pipelines import files_in
from trainer.artifact import read_manifest, sha256_of
from trainer.engine import loop
from trainer.engine.device import Compute
from trainer.engine.run import verify_run
from trainer.errors import TrainingError, TrainingStopped
from trainer.events import (
    Finished,
    Started,
    Step,
    Warned,
    read_events,
)
from trainer.machine.process import StopKind


@pytest.mark.parametrize(
    "method",
    ["dreambooth-lora", *(pytest.param(m, marks=pytest.mark.slow) for m in ("textual-inversion", "dreambooth"))],
)
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
            assert (whole.artifact / file).read_bytes() == (broken.artifact / file).read_bytes(), file
    for file in files_in(whole.previews):
        assert (whole.previews / file).read_bytes() == (broken.previews / file).read_bytes(), file


def test_run_goes_on_where_the_optimizer_of_its_checkpoint_is_not(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    """As one that 8-bit AdamW trained at Hugging Face, resumed on a machine without it."""
    run = prepared(tiny_model, "textual-inversion", steps=3)
    go_on(run, cache)
    file = run.checkpoint_folder(3) / "optimizer.pt"
    stored = torch.load(file, weights_only=True)
    for states in stored["optimizer"]["state"].values():
        own = {"state1": states.pop("exp_avg"), "state2": states.pop("exp_avg_sq")}
        states["__bnb_optimizer_quant_state__"] = own  # as bitsandbytes 0.50 writes it
    torch.save(stored, file)
    meta = json.loads((file.parent / "checkpoint.json").read_text())
    meta["sha256"]["optimizer.pt"] = sha256_of(file)
    (file.parent / "checkpoint.json").write_text(json.dumps(meta))
    run.write_recipe(run.read_recipe().model_copy(update={"steps": 6}))
    events = go_on(run, cache)
    assert next(e for e in events if isinstance(e, Started)).resumed_from == 3
    assert any("states begin anew" in e.text for e in events if isinstance(e, Warned))
    assert isinstance(events[-1], Finished)


def test_stop_before_the_first_step_keeps_nothing(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    for looks in (3, 12, 15):  # while photos are encoded, measured, and drawn before training
        run = prepared(tiny_model, "dreambooth-lora", f"run-{looks}", steps=50, **PREVIEWED)
        with pytest.raises(TrainingStopped, match="before the first step"):
            go_on(run, cache, StopAt(looks, StopKind.keep))
        assert not run.artifact.exists()
        assert not run.checkpoints.exists()


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
@pytest.mark.fault(15)
def test_run_that_needs_more_memory_than_the_gpu_has_goes_on_with_gradient_checkpointing(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", **PREVIEWED)
    real, given_up = loop.forward, []
    clock, measured_anew = SimpleNamespace(now=0.0), []
    monkeypatch.setattr("trainer.engine.run.time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(Compute, "forget_peak", lambda compute: measured_anew.append(compute))

    def in_little_memory(training: loop.Training, *, step: int, number: int) -> torch.Tensor:
        if step == 4 and not training.recipe.gradient_checkpointing:
            clock.now += 1000
            given_up.append(weakref.ref(training))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert not any(was() for was in given_up)  # or there would be no room for the second
        return real(training, step=step, number=number)

    monkeypatch.setattr(loop, "forward", in_little_memory)
    events = go_on(run, cache)
    assert [e.text for e in events if isinstance(e, Warned)] == [
        "The GPU's memory was too small for step 5. "
        "Going on from step 3 with gradient checkpointing, which takes longer."
    ]
    assert [e.resumed_from for e in events if isinstance(e, Started)] == [0, 3]
    assert len(measured_anew) == 2  # neither memory nor time of what was given up says what the next run takes
    assert isinstance(events[-1], Finished)
    assert events[-1].seconds < 1000
    assert run.read_recipe().gradient_checkpointing
    assert read_manifest(run.artifact).recipe == run.read_recipe().model_dump(mode="json")


@pytest.mark.fault(15)
def test_memory_that_is_too_small_for_gradient_checkpointing_fails(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", steps=3)

    def without_memory(_training: loop.Training, **_which: int) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(loop, "forward", without_memory)
    with pytest.raises(torch.OutOfMemoryError):
        go_on(run, cache)
    assert [e.text for e in read_events(run.events_file) if isinstance(e, Warned)] == [
        "The GPU's memory was too small for step 1. Beginning again with gradient checkpointing, which takes longer."
    ]


def test_damaged_newest_checkpoint_falls_back_and_says_so(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=9, **PREVIEWED)
    with pytest.raises(TrainingStopped):
        go_on(run, cache, StopAt(40))
    newest = max(run.checkpoints.iterdir())
    (newest / "weights.safetensors").write_bytes(b"")
    events = go_on(run, cache)
    assert any(isinstance(e, Warned) and "damaged" in e.text for e in events)
    assert isinstance(events[-1], Finished)


def test_resume_makes_the_previews_that_a_stop_left_out(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=5, **PREVIEWED | {"preview_every_steps": 3})
    go_on(run, cache)
    last = run.preview_file(5, 0)
    before = last.read_bytes()
    last.unlink()
    shutil.rmtree(run.artifact)  # as after a kill while the last pictures were drawn
    go_on(run, cache)
    assert last.read_bytes() == before

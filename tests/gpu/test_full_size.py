"""Every method on a CUDA device at Stable Diffusion 1.5's real layer sizes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from tests import ROOT
from trainer.artifact import read_manifest
from trainer.engine.attention import choose_attention, probe_xformers
from trainer.events import Finished, Started, read_events
from trainer.run_folder import RunFolder

HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
Train = Callable[..., RunFolder]


def command(base: Path, photos: Path, out: Path, method: str, precision: str, **changes: object) -> list[str]:
    values = {"resolution_px": 512, "preview_every_steps": 0, "preview_count": 1, "batch_size": 1, **changes}
    values |= {"prior_weight": 0} if method != "textual-inversion" else {"vectors": 2}
    fields = [word for field, value in values.items() for word in ("--set", f"{field}={value}")]
    return [
        *(sys.executable, "-m", "trainer", "train", "--photos", str(photos), "--method", method),
        *("--name", "red-mug", "--kind", "object", "--class-word", "teapot", "--base", str(base)),
        *("--out", str(out), "--set", f"precision={precision}", *fields),
    ]


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("method", ["textual-inversion", "dreambooth-lora", "dreambooth"])
def test_method_trains_with_xformers_to_a_verified_artifact(
    full_size_model: Path, photo_folder: Path, tmp_path: Path, method: str, precision: str
) -> None:
    out = tmp_path / "run"
    asked = command(full_size_model, photo_folder, out, method, precision, steps=8)
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events = list(read_events(out / "events.jsonl"))
    started = next(e for e in events if isinstance(e, Started))
    assert started.attention.startswith("xformers ")
    assert started.precision == precision
    assert any(isinstance(e, Finished) for e in events)
    assert read_manifest(out / "artifact").steps == 8


@pytest.mark.parametrize("precision", HALF)
def test_xformers_agrees_with_sdpa_in_output_and_gradients(full_size_model: Path, precision: str) -> None:
    """The whole UNet, not the kernel alone: prediction, and the gradient of every parameter, relative to its size."""
    results = []
    noise = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(1)).cuda()
    text = torch.randn(2, 77, 768, generator=torch.Generator().manual_seed(2)).cuda()
    for xformers in (True, False):
        unet = UNet2DConditionModel.from_pretrained(full_size_model, subfolder="unet", torch_dtype=torch.float32).cuda()
        if xformers:
            assert choose_attention(unet, HALF[precision]).xformers
        with torch.autocast("cuda", HALF[precision]):
            output = unet(noise, torch.tensor([10, 700], device="cuda"), text).sample
        (output.float() ** 2).mean().backward()
        results.append(
            (output.float().detach(), {n: p.grad.clone() for n, p in unet.named_parameters() if p.grad is not None})
        )
        del unet
    (ours, our_gradients), (theirs, their_gradients) = results
    tolerance = 0.01 if precision == "fp16" else 0.05
    assert (ours - theirs).norm() < tolerance * theirs.norm()
    total = torch.stack([g.norm() for g in their_gradients.values()]).norm()
    difference = torch.stack([(our_gradients[n] - g).norm() for n, g in their_gradients.items()]).norm()
    assert difference < tolerance * total


@pytest.mark.parametrize("size", [40, 64, 80, 160])
def test_probe_finds_an_operator_at_every_head_size(size: int) -> None:
    assert probe_xformers(torch.device("cuda"), torch.float16, {size})


def test_killed_run_goes_on_from_its_checkpoint(full_size_model: Path, photo_folder: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    asked = command(
        full_size_model, photo_folder, run.root, "dreambooth-lora", "fp16", steps=60, checkpoint_every_steps=10
    )
    process = subprocess.Popen(asked, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(run.checkpoints.glob("step-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = subprocess.run(
        [sys.executable, "-m", "trainer", "resume", str(run.root)], cwd=ROOT, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    starts = [e.resumed_from for e in read_events(run.events_file) if isinstance(e, Started)]
    assert starts[0] == 0
    assert 10 <= starts[1] < 60


def test_result_opens_in_plain_diffusers(full_size_model: Path, photo_folder: Path, tmp_path: Path) -> None:
    asked = command(full_size_model, photo_folder, tmp_path / "run", "textual-inversion", "bf16", steps=3)
    subprocess.run(asked, cwd=ROOT, check=True, capture_output=True)
    pipeline = StableDiffusionPipeline.from_pretrained(full_size_model).to("cuda")
    pipeline.load_textual_inversion(tmp_path / "run" / "artifact" / "learned_embeds.safetensors")
    assert "<red-mug>" in pipeline.tokenizer.get_vocab()

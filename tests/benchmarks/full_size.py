"""Steps per second and peak memory on a CUDA device at Stable Diffusion 1.5's layer sizes, xformers against SDPA."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.gpu.full_size_model import build_full_size_model
from tests.pictures import write_photos
from trainer.engine import attention
from trainer.engine.context import RunContext
from trainer.engine.run import run_training
from trainer.events import Event, Step
from trainer.machine.process import StopSignal
from trainer.photos.intake import take_folder
from trainer.prepare import prepare_run
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import Method

_STEPS = 60


def measure_full_size() -> None:
    """Print one line for each method, precision and attention kernel."""
    if not torch.cuda.is_available():
        print("gpu: there is no CUDA device on this machine")
        return
    with tempfile.TemporaryDirectory() as folder:
        base = build_full_size_model(Path(folder) / "model")
        photos = write_photos(Path(folder) / "photos", count=5, size=(768, 640))
        for method in Method:
            for precision in ("fp16", "bf16"):
                for xformers in (True, False):
                    run = Path(folder) / f"{method.value}-{precision}-{xformers}"
                    print(_measure(base, photos, run, method, precision, xformers=xformers), flush=True)


def _measure(base: Path, photos: Path, run: Path, method: Method, precision: str, *, xformers: bool) -> str:
    values: dict[str, Any] = {"method": method, "name": "red-mug", "kind": "object", "base": str(base)}
    values |= {"steps": _STEPS, "resolution_px": 512, "precision": precision, "preview_every_steps": 0}
    values |= {"class_word": "teapot", "checkpoint_every_steps": 0, "learning_rate": 1e-4}
    folder, _ = prepare_run(run, build_recipe(values), lambda target: take_folder(photos, target))
    events: list[Event] = []
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    kernels = nullcontext() if xformers else patch.object(attention, "probe_xformers", lambda *_: None)
    with kernels:
        run_training(folder, RunContext(events.append, StopSignal(), run.parent / "cache"))
    speeds = [e.steps_per_second for e in events if isinstance(e, Step)]
    gib = torch.cuda.max_memory_allocated() / 2**30
    kernel = "xformers" if xformers else "SDPA"
    speed = statistics.median(speeds[len(speeds) // 2 :])
    return f"{method.value}, {precision}, {kernel}: {speed:.2f} steps/s at batch 1, peak {gib:.1f} GiB"

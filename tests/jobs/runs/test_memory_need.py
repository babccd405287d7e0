"""How much memory a training takes: measured by runs of the same settings, or the least that arithmetic knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.runs.memory_need import PeakMemory, _driver_sizes, gpu_bytes, least_bytes, ways_to_less
from jobs.runs.progress import Progress
from jobs.runs.speed import Speeds
from tests.engine.conftest import small_recipe
from tests.jobs.made_by_hand import measured
from trainer.bases import BaseTraits
from trainer.machine.devices import APPLE_GPU, Device, cpu

SD1 = BaseTraits("stable-diffusion", 512, "epsilon", "abc", text_width=768)
BASE = Path("owner/model")


def test_peak_is_remembered_for_runs_of_the_same_settings(tmp_path: Path) -> None:
    recipe = small_recipe(BASE, "dreambooth-lora")
    Speeds(tmp_path / "speeds.json").learn(recipe, measured(5_000_000_000, "NVIDIA L4"))
    memory = Speeds(tmp_path / "speeds.json").memory
    longer = recipe.model_copy(update={"steps": 999, "name": "blue-mug", "text_encoder_share": 0.0})
    assert memory.measured_bytes(longer, on_gpu=True) == 5_000_000_000
    assert memory.measured_bytes(longer, on_gpu=False) is None
    for other in ({"batch_size": 4}, {"gradient_checkpointing": True}, {"text_encoder_share": 0.5}, {"rank": 64}):
        assert memory.measured_bytes(recipe.model_copy(update=other), on_gpu=True) is None
    memory.learn(recipe, measured(900_000_000, cpu().name))
    assert memory.measured_bytes(recipe, on_gpu=False) == 900_000_000
    assert memory.measured_bytes(recipe, on_gpu=True) == 5_000_000_000
    memory.learn(recipe, measured(800_000_000, APPLE_GPU))  # whose memory is the machine's
    assert memory.measured_bytes(recipe, on_gpu=False) == 800_000_000


@pytest.mark.parametrize("damaged", ["[]", "half a fi", '{"a": "b"}'])
def test_damaged_file_is_learnt_anew(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "memory.json").write_text(damaged)
    memory, recipe = PeakMemory(tmp_path / "memory.json"), small_recipe(BASE, "textual-inversion")
    assert memory.measured_bytes(recipe, on_gpu=True) is None
    memory.learn(recipe, Progress(device="NVIDIA L4"))  # an older run, which measured nothing
    memory.learn(recipe, measured(10, "NVIDIA L4"))
    assert memory.measured_bytes(recipe, on_gpu=True) == 10


@pytest.mark.parametrize(
    ("method", "changes", "gigabytes"),
    [
        ("dreambooth", {"optimizer": "adamw-8bit"}, 9.2),
        ("dreambooth", {}, 14.3),
        ("dreambooth", {"text_encoder_share": 0.3, "optimizer": "adamw-8bit"}, 10.2),
        ("dreambooth-lora", {}, 2.3),
        ("textual-inversion", {"precision": "fp32"}, 4.3),
    ],
)
def test_least_is_weights_gradients_and_states(method: str, changes: dict[str, object], gigabytes: float) -> None:
    recipe = small_recipe(BASE, method, **{"precision": "auto", **changes})
    assert (least_bytes(recipe, SD1) or 0) / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_nothing_is_said_of_a_base_of_another_size(tiny_model: Path) -> None:
    tiny = BaseTraits("stable-diffusion", 64, "epsilon", "abc", text_width=32)
    assert least_bytes(small_recipe(tiny_model, "dreambooth"), tiny) is None


def test_ways_to_less_memory_are_those_that_are_left() -> None:
    full = small_recipe(BASE, "dreambooth", batch_size=2)
    assert len(ways_to_less(full)) == 4
    spare = {"gradient_checkpointing": True, "optimizer": "adamw-8bit", "batch_size": 1}
    assert ways_to_less(small_recipe(BASE, "dreambooth", **spare)) == ["choose an adapter (LoRA)"]
    assert ways_to_less(small_recipe(BASE, "dreambooth-lora", **spare)) == ["choose a smaller base model"]


@pytest.fixture
def driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts `nvidia-smi` in the place of the driver's: it runs this line."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def say(line: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)

    _driver_sizes.cache_clear()
    yield say
    _driver_sizes.cache_clear()


@pytest.mark.parametrize(
    ("said", "found"),
    [("0, 15360\\n1, 24576\\n2, 8192", 15360 * 2**20), ("0, [N/A]", None), ("NVIDIA-SMI has failed", None)],
)
def test_smallest_gpu_of_ones_own_counts(driver_says: Callable[[str], None], said: str, found: int | None) -> None:
    driver_says(f"printf '{said}\\n'")
    assert gpu_bytes((Device(0, "T4"), Device(1, "L4"))) == found
    assert gpu_bytes((cpu(),)) is None


def test_driver_that_failed_is_asked_again_after_a_while(
    driver_says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("jobs.runs.memory_need.time", SimpleNamespace(monotonic=lambda: now[0]))
    driver_says("exit 9")
    assert gpu_bytes((Device(0, "T4"),)) is None
    driver_says("echo 0, 15360")
    assert gpu_bytes((Device(0, "T4"),)) is None  # one that hangs holds up no second plan
    now[0] += 60
    assert gpu_bytes((Device(0, "T4"),)) == 15360 * 2**20

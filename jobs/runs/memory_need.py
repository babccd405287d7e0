"""How much memory a training takes: what earlier runs measured here, or the least that it can be on a GPU."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path
from subprocess import DEVNULL, SubprocessError, run

from pydantic import TypeAdapter, ValidationError

from jobs.runs.progress import Progress
from trainer.bases import BaseTraits
from trainer.machine.devices import APPLE_GPU, Device
from trainer.recipe.choices import Optimizer, Precision
from trainer.recipe.config import DreamBoothRecipe, TrainConfig
from trainer.whole_files import write_whole

_KNOWN = TypeAdapter(dict[str, int])
_MATTERS = {
    *("method", "base", "resolution_px", "batch_size", "gradient_checkpointing", "optimizer", "precision", "rank"),
    *("adapted_layers", "vectors", "prior_source"),
}
"""Fields that decide what a run holds. Of some it only matters whether they are set."""
_MATTERS_WHETHER = ("ema_decay", "prior_weight", "text_encoder_share")
# Parameters of the denoiser and of the text encoders, by the width of the text states.
_PARAMETERS = {768: (860_000_000, 123_000_000), 1024: (866_000_000, 340_000_000), 2048: (2_567_000_000, 818_000_000)}
_AUTOENCODER_BYTES = 84_000_000 * 4

_ASK_EVERY_S = 30.0


class PeakMemory:
    """The most that runs of the same settings held, on GPUs and on processors, in one small file of the data root."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def learn(self, recipe: TrainConfig, progress: Progress) -> None:
        """Take over what a finished run measured."""
        if progress.measured is not None and progress.measured.peak_memory_bytes > 0:
            on_gpu = "CPU core" not in progress.device and progress.device != APPLE_GPU  # that shares the machine's
            key = _key(recipe, on_gpu=on_gpu)
            known = self._read() | {key: progress.measured.peak_memory_bytes}
            write_whole(self._file, json.dumps(known, indent=2))

    def measured_bytes(self, recipe: TrainConfig, *, on_gpu: bool) -> int | None:
        """None where no run of these settings has finished here."""
        return self._read().get(_key(recipe, on_gpu=on_gpu))

    def _read(self) -> dict[str, int]:
        """What is known; nothing where the file is missing or damaged."""
        try:
            return _KNOWN.validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return {}


def _key(recipe: TrainConfig, *, on_gpu: bool) -> str:
    values = recipe.model_dump(mode="json", include=_MATTERS)
    values |= {name: bool(getattr(recipe, name, None)) for name in _MATTERS_WHETHER}
    return " ".join(["gpu" if on_gpu else "cpu", *(f"{name}={values[name]}" for name in sorted(values))])


def least_bytes(recipe: TrainConfig, traits: BaseTraits) -> int | None:
    """What a GPU must hold at the very least; None for a base of another size than the well-known ones.

    By arithmetic, not measured: the base's weights (2 bytes each, 4 in fp32), the autoencoder's, which are always fp32,
    and for a full model fp32 weights, their gradients and AdamW's two states (4 bytes each, or 1 in 8 bits) of what is
    trained, and its average. Activations, adapters and what PyTorch itself takes come on top; they are a run's to
    measure.
    """
    if traits.text_width not in _PARAMETERS:
        return None
    denoiser, text = _PARAMETERS[traits.text_width]
    frozen = 4 if recipe.precision is Precision.fp32 else 2
    if not isinstance(recipe, DreamBoothRecipe):
        return (denoiser + text) * frozen + _AUTOENCODER_BYTES
    states = 2 if recipe.optimizer is Optimizer.adamw_8bit else 8
    trained = 4 + 4 + states + (4 if recipe.ema_decay else 0)
    return denoiser * trained + text * (trained if recipe.text_encoder_share else frozen) + _AUTOENCODER_BYTES


def ways_to_less(recipe: TrainConfig) -> list[str]:
    """What can be changed in a recipe so that it takes less memory, as the page calls it."""
    full = isinstance(recipe, DreamBoothRecipe)
    ways = {
        "switch on gradient checkpointing": not recipe.gradient_checkpointing,
        "choose the 8-bit optimizer": full and recipe.optimizer is not Optimizer.adamw_8bit,
        "set the batch size to 1": recipe.batch_size > 1,
        "choose an adapter (LoRA)": full,
        "choose a smaller base model": not full,
    }
    return [way for way, helps in ways.items() if helps]


def gpu_bytes(devices: tuple[Device, ...]) -> int | None:
    """The memory of the smallest of these GPUs, as the driver says it; None where there is none or it does not say."""
    numbers = {str(device.index) for device in devices if device.index is not None}
    if not numbers:
        return None
    said = _driver_sizes(int(time.monotonic() / _ASK_EVERY_S))
    return min((size for number, size in said.items() if number in numbers), default=None)


@lru_cache(maxsize=1)
def _driver_sizes(_period: int) -> dict[str, int]:
    """The memory of each GPU by its number, in bytes; nothing where the driver does not say it.

    It is asked once in a period: one that is starting answers later, and one that hangs must not hold up every plan.
    """
    query = ["nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = run(query, capture_output=True, text=True, timeout=10, check=True, stdin=DEVNULL)
    except (OSError, SubprocessError):
        return {}
    lines = [[part.strip() for part in line.split(",")] for line in answer.stdout.splitlines()]
    return {line[0]: int(line[1]) * 2**20 for line in lines if len(line) == 2 and line[1].isdigit()}

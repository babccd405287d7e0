"""Which device, in which arithmetic. Wraps accelerate, so that the loop has one object for both."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from trainer.errors import Problem, RecipeError, TrainingError
from trainer.machine.cores import CoreShare
from trainer.machine.devices import APPLE_GPU, usable_cores
from trainer.machine.gpu_check import gpu_trouble
from trainer.recipe.choices import FP16_ON_CPU, Precision

DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}
_MIXED = {Precision.fp32: "no", Precision.bf16: "bf16", Precision.fp16: "fp16"}


@dataclass(frozen=True)
class Compute:
    """The device of a run and its precision, resolved: never `auto`."""

    accelerator: Accelerator
    precision: Precision

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def dtype(self) -> torch.dtype:
        """What frozen weights are kept in, and what the forward pass computes in."""
        return DTYPES[self.precision]

    @property
    def peak_memory_bytes(self) -> int:
        """The most of the GPU's memory since `forget_peak`; without an NVIDIA GPU, of the machine's since the start."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_reserved(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB

    def forget_peak(self) -> None:
        """Measure `peak_memory_bytes` anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    @property
    def name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "mps":
            return APPLE_GPU
        return f"{torch.get_num_threads()} CPU {'core' if torch.get_num_threads() == 1 else 'cores'}"


def choose_precision(asked: Precision, device_type: str) -> Precision:
    """`auto` resolved for a kind of device. Raises RecipeError for what it cannot compute."""
    if asked is Precision.auto:
        if device_type == "cuda":
            return Precision.bf16 if torch.cuda.is_bf16_supported(including_emulation=False) else Precision.fp16
        if device_type == "cpu" and torch.cpu._is_avx512_bf16_supported():  # noqa: SLF001 - torch has no public probe
            return Precision.bf16
        return Precision.fp32
    if asked is Precision.fp16 and device_type == "cpu":
        raise RecipeError([Problem("precision", FP16_ON_CPU)])
    return asked


def open_compute(asked: Precision) -> Compute:
    """The accelerator of this process.

    Raises RecipeError where the precision cannot be had, and TrainingError where PyTorch cannot use the GPU that there
    is: days on the processor are not what anybody wants who has one.
    """
    if not torch.cuda.is_available() and (trouble := gpu_trouble()):
        raise TrainingError(trouble, "Repair that, or set CUDA_VISIBLE_DEVICES to nothing to compute on the processor.")
    use_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    kind = "cpu" if use_cpu else ("cuda" if torch.cuda.is_available() else "mps")
    precision = choose_precision(asked, kind)
    # accelerate keeps its precision in a process-wide singleton; a second run in one process needs a new one
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001
    return Compute(Accelerator(mixed_precision=_MIXED[precision], cpu=use_cpu), precision)


def own_cores() -> int:
    """How many cores this process may use when it computes alone: those of the machine, or fewer if told so."""
    return min(usable_cores(), torch.get_num_threads())


def use_share(cores: CoreShare) -> None:
    """Compute with this process's present share of the machine's cores."""
    threads = cores.threads()
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)

"""What went wrong, in words, and what the person can do about it."""

from __future__ import annotations

import torch

from trainer.errors import StudioError, TrainingError
from trainer.machine.disk_errors import explain_disk

_NO_MEMORY_ON_GPU = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED", "MPS backend out of memory")
"""Where a driver or a library had none left, and PyTorch passes their words on."""


def is_gpu_full(error: Exception) -> bool:
    """Whether the GPU had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _NO_MEMORY_ON_GPU)


def is_memory_full(error: Exception) -> bool:
    """Whether the machine had no memory left."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def explain(error: Exception) -> StudioError:
    """Any exception of a run as one of ours; ours are returned as they are."""
    if isinstance(error, StudioError):
        return error
    if is_gpu_full(error):
        return TrainingError(
            "The GPU ran out of memory.",
            "Try 512 px, batch size 1, gradient checkpointing or the 8-bit optimizer.",
        )
    if is_memory_full(error):
        return TrainingError("The machine ran out of memory.", "Try a smaller resolution or batch size.")
    if (of_disk := explain_disk(error)) is not None:
        return of_disk
    if "CUDA error" in str(error):
        return TrainingError("The GPU was lost.", "Check the driver, then press Resume.")
    return TrainingError(
        f"An unexpected error stopped the run ({type(error).__name__}: {error}).",
        "The log holds the details; Resume goes on from the last checkpoint.",
    )

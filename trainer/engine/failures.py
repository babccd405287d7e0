"""What went wrong, in words, and what the person can do about it."""

from __future__ import annotations

import errno

import torch

from trainer.errors import StudioError, TrainingError


def explain(error: Exception) -> StudioError:
    """Any exception of a run as one of ours; ours are returned as they are."""
    if isinstance(error, StudioError):
        return error
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(
            "The GPU ran out of memory.",
            "Try 512 px, batch size 1, gradient checkpointing or the 8-bit optimizer.",
        )
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return TrainingError("The machine ran out of memory.", "Try a smaller resolution or batch size.")
    if _is_full(error):
        return TrainingError("The disk is full.", "Free some space and press Resume; nothing that was kept is lost.")
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES):
        return TrainingError(f"{error.filename} cannot be written.", "Check who owns the data folder.")
    if "CUDA error" in str(error):
        return TrainingError("The GPU was lost.", "Check the driver, then press Resume.")
    return TrainingError(
        f"An unexpected error stopped the run ({type(error).__name__}: {error}).",
        "The log holds the details; Resume goes on from the last checkpoint.",
    )


def _is_full(error: Exception) -> bool:
    """Whether a disk or a quota is full; safetensors and torch say so in words of their own only."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(sign in str(error) for sign in ("os error 28", "os error 122", "inline_container"))

"""What a disk that does not take any more says, in words. Light: it may have to be said before torch is there."""

from __future__ import annotations

import errno

from trainer.errors import TrainingError


def is_full(error: Exception) -> bool:
    """Whether the system says that a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def explain_disk(error: Exception) -> TrainingError | None:
    """An error of the disk as one of ours; None for any other. safetensors and torch say it in words of their own."""
    if is_full(error) or any(sign in str(error) for sign in ("os error 28", "os error 122", "inline_container")):
        return TrainingError("The disk is full.", "Free some space and press Resume; nothing that was kept is lost.")
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES):
        return TrainingError(f"{error.filename or 'A file'} cannot be written.", "Check who owns the data folder.")
    return None

"""Why pictures could not be made, in words that fit: advice for training runs would be no help on the Try it page."""

from __future__ import annotations

from trainer.engine.failures import is_gpu_full, is_memory_full
from trainer.errors import PictureError, StudioError
from trainer.machine.disk_errors import is_full


def explain_picture(error: Exception) -> StudioError:
    """Any exception as one of ours; ours are returned as they are. Visitors read it, so details are left to the log."""
    if isinstance(error, StudioError):
        return error
    if is_gpu_full(error):
        return PictureError("The GPU ran out of memory. Try a smaller size.")
    if is_memory_full(error):
        return PictureError("The machine ran out of memory. Try a smaller size or fewer pictures.")
    if is_full(error):
        return PictureError("The disk is full. Free some space, then try again.")
    return PictureError(f"Something unexpected went wrong ({type(error).__name__}). The log holds the details.")

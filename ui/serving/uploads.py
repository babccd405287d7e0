"""Where the files that browsers send lie, and when they go.

gradio names such a file by its content: two people who send the same photo share one file, and nobody may remove it
while another is about to read it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from trainer.child_environment import tell_libraries

KEEP_S = 60.0
_LEFT_OVER_S = 3600.0
_FORGOTTEN_S = 24 * 3600.0


def keep_uploads_in(folder: Path) -> None:
    """Have gradio put uploads there, one's own GRADIO_TEMP_DIR aside; what an earlier page left behind goes."""
    tell_libraries("GRADIO_TEMP_DIR", str(folder))
    remove_older([file for file in folder.rglob("*") if file.is_file()], _LEFT_OVER_S)
    _remove_emptied(folder, 0.0)


def remove_forgotten(folder: Path) -> None:
    """Remove uploads that nobody has used for a day, and parts of those that a full disk broke off."""
    remove_older([file for file in folder.rglob("*") if file.is_file()], _FORGOTTEN_S)
    _remove_emptied(folder, _LEFT_OVER_S)


def _remove_emptied(folder: Path, age_s: float) -> None:
    """Each upload has a folder of its own. One that was emptied just now may be about to get the same file again."""
    for emptied in folder.glob("*"):
        with contextlib.suppress(OSError):  # most are not empty
            if time.time() - emptied.stat().st_mtime >= age_s:
                emptied.rmdir()


def release(files: Iterable[Path], keep_s: float = KEEP_S) -> None:
    """Remove uploads that were read, in `keep_s` seconds; one that somebody sent again meanwhile stays for them."""
    timer = threading.Timer(keep_s, remove_older, (list(files), keep_s))
    timer.daemon = True  # what it does not come to, the next start does
    timer.start()


def remove_older(files: Iterable[Path], age_s: float) -> None:
    """Remove those files that were written at least `age_s` seconds ago."""
    for file in files:
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime >= age_s:
                file.unlink()

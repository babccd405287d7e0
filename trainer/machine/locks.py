"""Locks between processes: files whose lock ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import BusyError


@contextmanager
def hold_lock(path: Path, *, what: str) -> Generator[None]:
    """An exclusive file lock that ends with the process. Raises BusyError naming the holder's pid."""
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = lock_holder(path)
            raise BusyError(f"{what} is already served by pid {pid or 'unknown'}.", pid=pid) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def is_held(path: Path) -> bool:
    """Whether a live process holds a lock. Raises OSError where the file is there and cannot be asked."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def lock_holder(path: Path) -> int | None:
    """The pid that wrote itself into a lock file, if any."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


@contextmanager
def one_at_a_time(target: Path) -> Generator[None]:
    """Of several processes that want to make the same file or folder, one does and the others wait for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""Locks between processes: files whose lock ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainer.errors import BusyError


@cache
def this_machine() -> str:
    """Says where a pid of this process means something: on a host until its restart, and inside one container there.

    Host names alone may be the same: of machines made from one image, or of containers on their host's network.
    """
    said = [platform.node()]
    with contextlib.suppress(OSError):  # Linux only
        said.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        said.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(said)


@dataclass(frozen=True)
class Holder:
    """Who wrote itself into a lock file."""

    pid: int
    machine: str

    @property
    def is_here(self) -> bool:
        """Whether the pid is one of this machine: the file may lie in a folder that several share."""
        return self.machine == this_machine()


@contextmanager
def hold_lock(path: Path, *, what: str) -> Generator[None]:
    """An exclusive file lock that ends with the process. Raises BusyError naming the holder's pid."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock_holder(path)
            where = "" if holder is None or holder.is_here else " of another machine"
            pid = holder.pid if holder is not None else None
            raise BusyError(f"{what} is already served by pid {pid or 'unknown'}{where}.", pid=pid) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {this_machine()}")
        file.flush()
        os.fsync(file.fileno())  # on a network file system others would read who had it before, for half a minute
        try:
            yield
        finally:
            if not is_anothers(path):
                file.truncate(0)
                os.fsync(file.fileno())


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


def lock_holder(path: Path) -> Holder | None:
    """Who wrote itself into a lock file, if anybody."""
    try:
        pid, _, machine = path.read_text(encoding="utf-8").partition(" ")
    except FileNotFoundError:
        return None
    return Holder(int(pid), machine) if pid.isdigit() else None


def is_anothers(path: Path) -> bool:
    """Whether somebody wrote itself into a lock file that this process holds.

    On a network file system a lock is lost when its machine sleeps or is cut off for long.
    """
    holder = lock_holder(path)
    return holder is not None and holder != Holder(os.getpid(), this_machine())


@contextmanager
def one_at_a_time(target: Path) -> Generator[None]:
    """Of several processes that want to make the same file or folder, one does and the others wait for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""Locks between processes: who holds one, and that it ends with its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.errors import BusyError
from trainer.machine.locks import Holder, hold_lock, is_anothers, is_held, lock_holder, this_machine


def test_lock_names_the_pid_that_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from trainer.machine.locks import hold_lock\n"
        "with hold_lock(Path(sys.argv[1]), what='GPU 0'): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "l")], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with (
            pytest.raises(BusyError, match=f"GPU 0 is already served by pid {child.pid}"),
            hold_lock(tmp_path / "l", what="GPU 0"),
        ):
            pass
    finally:
        child.kill()
        child.communicate()
    with hold_lock(tmp_path / "l", what="GPU 0"):
        pass  # a lock ends with its process, however it ended


def test_holder_of_another_machine_is_told_apart_and_keeps_its_name(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with hold_lock(lock, what="it"):
        holder = lock_holder(lock)
        assert holder == Holder(os.getpid(), this_machine())
        assert holder.is_here
        assert not is_anothers(lock)
        lock.write_text(f"{os.getpid()} another-machine")
        assert is_anothers(lock)
        with pytest.raises(BusyError, match="of another machine"), hold_lock(lock, what="it"):
            pass
    holder = lock_holder(lock)
    assert holder is not None
    assert not holder.is_here


def test_who_holds_a_lock_is_on_the_disk_before_anything_is_done_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, on_disk = tmp_path / "lock", list[str]()
    monkeypatch.setattr("trainer.machine.locks.os.fsync", lambda _file: on_disk.append(lock.read_text()))
    lock.write_text("1234 who had it before")
    with hold_lock(lock, what="it"):
        assert on_disk == [f"{os.getpid()} {this_machine()}"]
    assert on_disk[1:] == [""]


def test_asking_whether_a_lock_is_held_neither_makes_nor_takes_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert not lock.exists()
    with hold_lock(lock, what="it"):
        assert is_held(lock)
        assert is_held(lock)
    assert not is_held(lock)


def test_lock_that_cannot_be_asked_is_not_said_to_be_free(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        is_held(tmp_path / "file" / "lock")

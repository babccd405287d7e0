"""Child-process discipline, in one place: how children are started, told to stop, and made to die with their parent.

A child gets an argument list (never a shell), a session of its own, an explicit environment, a log file, and a pipe
on its standard input that its parent holds open. When the parent dies, however it dies, the pipe ends and the child
stops. (PR_SET_PDEATHSIG would fire when the spawning *thread* ends, and a web server's threads come and go.)
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
"""Where `python -m` finds our packages."""
GRACE_S = 20.0
KEEP_SIGNAL = signal.SIGUSR1


class StopKind(StrEnum):
    """What a stopped run does before it ends: keep a checkpoint, or also export what was learnt so far."""

    checkpoint = "checkpoint"
    keep = "keep"


class StopSignal:
    """The stop request of this process: SIGTERM, Ctrl-C or a lost parent keep a checkpoint, SIGUSR1 also exports."""

    def __init__(self) -> None:
        self.kind: StopKind | None = None
        self._at_once = False

    def requested(self) -> bool:
        return self.kind is not None

    def install(self, *, at_once: bool = False) -> None:
        """Take over the signals. Only the main thread of a process may.

        `at_once`: for work that writes aside and has nothing to keep; a stop raises KeyboardInterrupt in its midst. One
        that is to keep what was learnt waits until a run takes the signals over.
        """
        self._at_once = at_once
        for number in (signal.SIGTERM, signal.SIGINT, KEEP_SIGNAL):
            signal.signal(number, self._received)
        signal.pthread_sigmask(signal.SIG_BLOCK if at_once else signal.SIG_UNBLOCK, {KEEP_SIGNAL})

    def _received(self, number: int, _frame: FrameType | None) -> None:
        if self.kind is not StopKind.checkpoint:  # a checkpoint-only stop is more urgent than one that exports
            self.kind = StopKind.keep if number == KEEP_SIGNAL else StopKind.checkpoint
        if self._at_once:
            raise KeyboardInterrupt


def stop_when_parent_dies() -> None:
    """Send this process SIGTERM when standard input ends, and kill it after the grace period."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):  # the bare descriptor: a buffered reader's lock aborts the interpreter at exit
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class Child:
    """A running child process in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit code, or None if it still runs after the time-out."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child itself; nothing if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self.signal(signal.SIGTERM)

    def end(self, grace_s: float = GRACE_S) -> int:
        """SIGTERM, and SIGKILL for the whole group after the grace period; returns the exit code."""
        self.signal(signal.SIGTERM)
        if (code := self.wait(grace_s)) is not None:
            return code
        return self.kill()

    def kill(self) -> int:
        """SIGKILL for the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self.wait()
        assert code is not None  # without a time-out it has ended
        return code


def leave(code: int) -> NoReturn:
    """End this process as `sys.exit` does, but without taking the interpreter apart.

    With the libraries loaded that takes a second, which whoever waits for the process waits, too.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def read_secret() -> str:
    """The secret that `spawn` was given for this process."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):  # no further: the rest is for `stop_when_parent_dies`
        line += byte
    return line.decode()


def spawn(arguments: Sequence[str], *, environment: dict[str, str], log: Path, secret: str | None = None) -> Child:
    """Start `python -m ARGUMENTS` with its output appended to `log`.

    `secret` goes down the pipe, where no other process can see it; the child takes it with `read_secret`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, _held_back(KEEP_SIGNAL):
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
            close_fds=True,
        )
    if secret is not None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            process.stdin.write(f"{secret}\n".encode())
            process.stdin.flush()
    return Child(process)


@contextmanager
def _held_back(number: signal.Signals) -> Generator[None]:
    """A child that is started here gets this signal only once it can take it; before, it would be killed by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

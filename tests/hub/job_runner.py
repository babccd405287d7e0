"""Jobs, run here: each a process group of its own, with the environment and the secrets that it was given."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.hub.accounts import object_id
from tests.hub.clock import timestamp

SCHEDULING, RUNNING, COMPLETED, CANCELED, ERROR = "SCHEDULING", "RUNNING", "COMPLETED", "CANCELED", "ERROR"
OVER: Final = (COMPLETED, CANCELED, ERROR, "DELETED")
_INHERITED: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TMPDIR")


@dataclass(frozen=True)
class LogLine:
    """A line that a Job wrote, and when."""

    moment: str
    text: str

    def describe(self) -> dict[str, str]:
        return {"timestamp": self.moment, "data": self.text}


@dataclass
class Job:
    """A Job. `spec` is what the client sent."""

    spec: dict[str, Any]
    namespace: str
    of_user: bool
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    finished_at: float | None = None
    stage: str = SCHEDULING
    message: str | None = None
    lines: list[LogLine] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def over(self) -> bool:
        return self.stage in OVER

    def finish(self, stage: str, message: str | None = None) -> None:
        """The first end counts: a killed process does not turn a cancelled Job into a failed one."""
        if not self.over:
            self.stage, self.message, self.finished_at = stage, message, time.time()

    def describe(self) -> dict[str, Any]:
        """What the Hub tells of it: of secrets, the names."""
        until = self.finished_at or time.time()
        return {
            "id": self.id,
            "createdAt": timestamp(self.created_at),
            "startedAt": timestamp(self.started_at) if self.started_at else None,
            "finishedAt": timestamp(self.finished_at) if self.finished_at else None,
            "dockerImage": self.spec.get("dockerImage"),
            "spaceId": self.spec.get("spaceId"),
            "command": self.spec["command"],
            "arguments": self.spec.get("arguments", []),
            "environment": self.spec.get("environment", {}),
            "secrets": dict.fromkeys(self.spec.get("secrets", {})),
            "flavor": self.spec["flavor"],
            "labels": self.spec.get("labels", {}),
            "volumes": self.spec.get("volumes"),
            "status": {"stage": self.stage, "message": self.message},
            "durations": {
                "schedulingSecs": int(self.started_at - self.created_at) if self.started_at else None,
                "runningSecs": int(until - self.started_at) if self.started_at else None,
                "totalSecs": int(until - self.created_at),
            },
            "owner": {
                "id": object_id(self.namespace),
                "name": self.namespace,
                "type": "user" if self.of_user else "org",
            },
        }


class JobRunner:
    """All Jobs of a Hub. While `held`, new ones wait to be scheduled."""

    def __init__(self, folder: Path, hub_url: str, run_in: Path | None) -> None:
        self._folder, self._hub_url, self._run_in = folder, hub_url, run_in
        self.jobs: dict[str, Job] = {}
        self.held = False

    def app_folder_of(self, job: Job) -> Path:
        """Where a Job finds the files of the Space that it is an image of."""
        folder = self._folder / job.id / "app"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def submit(self, job: Job) -> None:
        """Take a Job in, and start it unless they are held."""
        self.jobs[job.id] = job
        if not self.held:
            self._start(job)

    def hold(self, held: bool) -> None:
        """Keep new Jobs waiting, or let those that wait start."""
        self.held = held
        if not held:
            for job in self.jobs.values():
                if job.stage == SCHEDULING:
                    self._start(job)

    def stop(self, job: Job, stage: str, message: str | None = None) -> None:
        """End a Job with everything that it started."""
        job.finish(stage, message)
        if job.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)

    def stop_all(self) -> None:
        for job in self.jobs.values():
            self.stop(job, CANCELED)

    def _start(self, job: Job) -> None:
        job.stage, job.started_at = RUNNING, time.time()
        job.lines.append(LogLine(timestamp(), f"===== Job started at {timestamp()} ====="))
        try:
            job.process = subprocess.Popen(
                [*job.spec["command"], *job.spec.get("arguments", [])],
                cwd=self._run_in or self.app_folder_of(job),
                env=self._environment(job),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            job.finish(ERROR, f"Failed to start: {error}")
            return
        threading.Thread(target=self._follow, args=(job, job.process), daemon=True).start()

    def _environment(self, job: Job) -> dict[str, str]:
        """Nothing of the Hub's own environment that is not needed to run a program."""
        home = self.app_folder_of(job).parent
        given = {**job.spec.get("environment", {}), **job.spec.get("secrets", {})}
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": self._hub_url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "JOB_ID": job.id,
            "ACCELERATOR": job.spec["flavor"],
            **{name: str(value) for name, value in given.items()},
        }

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> None:
        limit_s = job.spec.get("timeoutSeconds")
        timer = threading.Timer(limit_s, self.stop, (job, ERROR, "Job timeout")) if limit_s else None
        if timer:
            timer.daemon = True
            timer.start()
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                job.lines.append(LogLine(timestamp(), line.rstrip("\n")))
        code = process.wait()
        if timer:
            timer.cancel()
        job.finish(COMPLETED if code == 0 else ERROR, None if code == 0 else f"Job failed with exit code {code}")

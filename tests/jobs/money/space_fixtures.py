"""A Space on the local Hub, and jobs in any state without training: what tests of hardware and money share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, SpaceHardware

from jobs.money.caretaker import Caretaker
from jobs.money.space import OwnSpace
from jobs.money.space_state import ReleaseStage, SpaceState, write_state
from jobs.record.bill import Bill, write_bill
from jobs.record.publications import Publication, PublicationState, PublicationStore
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job, JobStore, open_engine
from jobs.runs.speed import Speeds
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.finished_run import write_finished_run
from trainer.run_folder import RunFolder
from trainer.settings import Settings

STUDIO = "alice/studio"
BASE_MODEL = "alice/base"
"""One of which no speed is known."""
START = 1_800_000_000.0
_NUMBERS = itertools.count(1)


def make_space(alice: HfApi, hardware: SpaceHardware | None = SpaceHardware.T4_SMALL) -> None:
    """Alice's Space, running."""
    alice.create_repo(STUDIO, repo_type="space", space_sdk="gradio", space_hardware=hardware)
    alice.upload_file(path_or_fileobj=b"print()", path_in_repo="app.py", repo_id=STUDIO, repo_type="space")


def requests_for(hub: LocalHub, what: str) -> list[str]:
    """Requests that would change the Space's hardware or sleep timer."""
    return [request.line for request in hub.requests() if request.line == f"POST /api/spaces/{STUDIO}/{what}"]


class Scene:
    """A data root with jobs, and a caretaker over it whose clock the test moves."""

    def __init__(self, settings: Settings, photos: Path) -> None:
        self.settings, self._photos = settings, photos
        engine = open_engine(settings.jobs_database_url)
        self.jobs, self.publications = JobStore(engine), PublicationStore(engine)
        self.moment = START
        self.kept_until = 0.0
        write_state(settings.home, SpaceState())
        self.caretaker = self.start()

    def start(self, token: str | None = ALICE) -> Caretaker:
        """A caretaker as a fresh process has it; what it knows is on the disk."""
        space = OwnSpace(STUDIO, token)
        stores = (self.jobs, self.publications)
        home, runs = self.settings.home, self.settings.runs_dir
        self.caretaker = Caretaker(
            home, runs, Speeds(home / "speeds.json"), space, stores, kept_until=lambda: self.kept_until
        )
        return self.caretaker

    @property
    def state(self) -> SpaceState:
        assert self.caretaker.state is not None
        return self.caretaker.state

    @property
    def released(self) -> bool:
        """Is the hardware given back?"""
        return self.state.release.stage is ReleaseStage.done

    def pass_time(self, seconds: float) -> None:
        """Let the caretaker do its rounds for so long."""
        end = self.moment + seconds
        step = min(60.0, max(5.0, seconds / 15))
        while self.moment < end:
            self.moment += step
            self.caretaker.round(self.moment)

    def pass_time_until(self, condition: Callable[[], bool], seconds: float = 4 * 3600) -> None:
        """Rounds until the condition holds."""
        end = self.moment + seconds
        while not condition():
            assert self.moment < end, self.state
            self.pass_time(5)

    def add_job(
        self, state: JobState = JobState.running, *, release: bool = False, flavor: str = "t4-small", **values: Any
    ) -> Job:
        """A job in a state, with a bill; a finished or stopped one has a result."""
        job_id = f"job{next(_NUMBERS)}"
        run = write_finished_run(self.settings.runs_dir / job_id, self._photos, base=BASE_MODEL)
        job = Job(
            **{
                **dict.fromkeys(("title", "name"), "red-mug"),
                "id": job_id,
                "owner": "anna",
                "method": "textual-inversion",
                "kind": "object",
                "base": BASE_MODEL,
                "steps": 6,
                "state": state,
                "wish": StopWish.none,
                "priority": 1,
                "attempt": 1,
                "created": self.moment,
                "queued": self.moment,
                "started": None if state is JobState.waiting else self.moment,
                "ended": None,
                "message": "",
                **values,
            }
        )
        job = replace(job, ended=None if job.is_open else self.moment)
        if state not in (JobState.finished, JobState.stopped):
            (run.artifact / "artifact.json").unlink()
        self.jobs.add(job)
        write_bill(run, Bill(release=release, flavor=flavor))
        return job

    def publish(self, job: Job, state: PublicationState = PublicationState.published) -> None:
        self.publications.put(Publication(job.id, "alice/red-mug", private=True, state=state), self.run(job))

    def run(self, job: Job) -> RunFolder:
        return RunFolder(self.settings.runs_dir / job.id)

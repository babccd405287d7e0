"""Queueing new jobs: the run folder first, then the row, then the place in the queue; one press is one job."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path

from jobs.queueing.turns import own_before, turn
from jobs.record.bill import Bill, write_bill
from jobs.record.comparison import Comparison, Order, comparison_of_press, write_comparison
from jobs.record.job_file import write_job_file
from jobs.record.remote_run import RemoteRun, write_remote
from jobs.record.run_summary import RunSummary, summary_of
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job, JobStore, is_job_id, new_job_id, now
from jobs.submission.caps import check_caps
from trainer.errors import RequestError
from trainer.imports.task import ExtractTask, ImportTask, prepare_task
from trainer.photos.intake import PhotoSet
from trainer.prepare import prepare_run
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder

log = logging.getLogger(__name__)
_LEFT_ALONE_S = 24 * 3600.0


class Submitting:
    """Takes new jobs, one after another: two windows that press at once must not both find nothing there yet.

    A job that has its row is queued when the next press may be seen to: a queue that does not answer holds up no other.
    One that a kill leaves without its place gets one by `JobQueue.add_missing`.
    """

    def __init__(
        self, store: JobStore, runs_dir: Path, enqueue: Callable[[Job], None], check_folder: Callable[[], None]
    ) -> None:
        """`check_folder` raises RequestError while `runs_dir` is not the folder that it should be."""
        self._store, self._runs_dir, self._enqueue, self._check_folder = store, runs_dir, enqueue, check_folder
        self._one_at_a_time = threading.Lock()
        self._one_task_at_a_time = threading.Lock()

    def submit(
        self,
        owner: str,
        recipe: TrainConfig,
        take_photos: Callable[[Path], PhotoSet],
        *,
        press_id: str | None = None,
        bill: Bill | None = None,
        remote: RemoteRun | None = None,
    ) -> Job:
        """Make the run folder and queue the job. Raises RequestError where photos or caps forbid it.

        `press_id` names one press of the button: a second submission with it returns the first one's job, or is refused
        where it asks for something else. `bill` says on what conditions the job may cost money, `remote` sends it to
        Hugging Face instead of training it here.
        """
        with self._press(press_id) as job_id:
            if self._store.find(job_id) is not None:
                return self._pressed_before(job_id, owner, recipe)
            own_open = own_before(check_caps(self._store, owner), self._runs_dir, remote=remote is not None)
            self._prepare(job_id, Order(recipe, bill, remote), take_photos)
            job = self._add_new(job_id, owner, summary_of(recipe), own_open)
        self._enqueue(job)
        return job

    def submit_pair(
        self,
        owner: str,
        orders: tuple[Order, Order],
        take_photos: Callable[[Path], PhotoSet],
        *,
        press_id: str | None = None,
    ) -> Comparison:
        """Queue two trainings on the same photos, to be compared: both or, with a RequestError, neither.

        `press_id` is as for `submit`; the first job has it as its id.
        """
        with self._press(press_id) as job_id:
            comparison = comparison_of_press(job_id)
            if self._store.find(comparison.id) is not None:
                for each, order in zip(comparison.jobs, orders, strict=True):
                    self._pressed_before(each, owner, order.recipe)
                return comparison
            own = check_caps(self._store, owner, coming=2)
            self._prepare_both(comparison, orders, take_photos)
            jobs: list[Job] = []
            for each, order in zip(comparison.jobs, orders, strict=True):
                own_open = own_before([*own, *jobs], self._runs_dir, remote=order.remote is not None)
                jobs.append(_new_job(each, owner, summary_of(order.recipe), own_open))
            self._add(*jobs)
        for job in jobs:
            self._enqueue(job)
        return comparison

    def _prepare_both(
        self, comparison: Comparison, orders: tuple[Order, Order], take_photos: Callable[[Path], PhotoSet]
    ) -> None:
        with contextlib.ExitStack() as undo:
            for job_id, order in zip(comparison.jobs, orders, strict=True):
                run = self._prepare(job_id, order, take_photos)
                undo.callback(shutil.rmtree, run.root, ignore_errors=True)
                write_comparison(run, comparison)
            undo.pop_all()

    @contextlib.contextmanager
    def _press(self, press_id: str | None) -> Generator[str]:
        """The id of the job that a press makes, while no other press is seen to. Raises RequestError for what is none.

        It comes from a browser and becomes the name of a folder.
        """
        if press_id is not None and not is_job_id(press_id):
            raise RequestError("There are no such photos.")
        self._check_folder()
        with self._one_at_a_time:
            yield press_id or new_job_id()

    def _pressed_before(self, job_id: str, owner: str, recipe: TrainConfig) -> Job:
        """The job of a button that is pressed again. Raises RequestError where another recipe came with this press."""
        job = self._store.get(job_id, owner=owner)
        if self._run(job_id).read_recipe() != recipe:
            raise RequestError(f"These photos went into the job {job.title} already. Add them again to train another.")
        return job

    def _prepare(self, job_id: str, order: Order, take_photos: Callable[[Path], PhotoSet]) -> RunFolder:
        """The run folder of a training that is not queued yet: whole, or none."""
        run = self._run(job_id)
        if not run.job_file.exists():  # a kill in the midst of the same press has left it
            shutil.rmtree(run.root, ignore_errors=True)
        prepare_run(run.root, order.recipe, take_photos)
        try:
            if order.bill is not None:
                write_bill(run, order.bill)
            if order.remote is not None:
                write_remote(run, order.remote)
        except BaseException:  # or the photos would stay, and no job with them
            shutil.rmtree(run.root, ignore_errors=True)
            raise
        return run

    def remove_leftovers(self) -> None:
        """Remove run folders, photos included, that a kill left without a job a day ago or earlier."""
        for root in self._runs_dir.glob("*"):
            if not is_job_id(root.name) or RunFolder(root).job_file.exists() or self._store.find(root.name) is not None:
                continue
            if time.time() - root.stat().st_mtime > _LEFT_ALONE_S:
                log.warning("%s holds no job, and is removed", root)
                shutil.rmtree(root, ignore_errors=True)

    def submit_task(self, owner: str, task: ImportTask | ExtractTask, file: Path | None = None) -> Job:
        """Queue a concept to be taken in, or a LoRA to be extracted. Raises RequestError where caps forbid it.

        `file` is copied into the run folder, which may take minutes: other presses are seen to meanwhile.
        """
        with self._one_task_at_a_time:
            with self._press(None) as job_id:
                check_caps(self._store, owner)
            run = prepare_task(self._run(job_id).root, task, file)
            with self._one_at_a_time:
                try:
                    own = check_caps(self._store, owner)
                except RequestError:
                    shutil.rmtree(run.root, ignore_errors=True)
                    raise
                job = self._add_new(job_id, owner, summary_of(task), own_before(own, self._runs_dir, remote=False))
        self._enqueue(job)
        return job

    def _run(self, job_id: str) -> RunFolder:
        return RunFolder(self._runs_dir / job_id)

    def _add_new(self, job_id: str, owner: str, summary: RunSummary, own_open: int) -> Job:
        """The file and the row of a run folder that was just prepared."""
        job = _new_job(job_id, owner, summary, own_open)
        self._add(job)
        return job

    def _add(self, *jobs: Job) -> None:
        """Files first: after a kill before the rows are written, the next start makes them from the files."""
        try:
            for job in jobs:
                write_job_file(self._run(job.id), job)
            self._store.add(*jobs)
        except BaseException:  # or pressing again would find a folder that is not empty
            for job in jobs:
                shutil.rmtree(self._run(job.id).root, ignore_errors=True)
            raise


def _new_job(job_id: str, owner: str, summary: RunSummary, own_open: int) -> Job:
    """The row of a job that waits; who has many open ones is served after who has few."""
    moment = now()
    return Job(
        id=job_id,
        owner=owner,
        title=summary.name,
        **asdict(summary),
        state=JobState.waiting,
        wish=StopWish.none,
        priority=turn(moment, own_open),
        attempt=1,
        created=moment,
        queued=moment,
        started=None,
        ended=None,
        message="",
    )

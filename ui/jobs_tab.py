"""The Jobs page: one's own jobs, polled, so that any tab or device shows the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.record.comparison import read_comparison
from jobs.record.publications import UNDER_WAY, Publication
from jobs.record.remote_run import RemoteRun
from jobs.record.state import JobState
from jobs.record.store import Job, now
from jobs.runs.progress import PHASES, TASK_PHASES, Progress
from jobs.service import JobView
from trainer.quantities import duration
from ui.buttons import ACTIONS_AND_TITLE_JS, pressed, unknown_button
from ui.compare_panel import ComparePanel
from ui.errors import spoken
from ui.html import render
from ui.keeping_notice import draw_keeping_notice
from ui.listening import QUIET_AT_ONCE
from ui.polling import Drawn, PolledHtml, drawn_or_trouble
from ui.resuming import resume
from ui.services import Services

TITLE = "Concept Studio"
JOBS = 20
"""How many are shown until somebody asks for older ones: while one trains, all that is shown is sent again."""
PHASE_WORDS = {
    "prepare": "photos",
    "class-images": "class pictures",
    "cache": "cache",
    "train": "training",
    "export": "export",
    "verify": "verify",
}


@dataclass(frozen=True)
class _Card:
    """What the template shows of a job."""

    job: Job
    progress: Progress
    place: int | None
    starts_in_s: float | None
    has_artifact: bool
    is_own: bool
    publication: Publication | None
    money: list[str]
    remote: RemoteRun | None = None
    cost_usd: float = 0.0
    has_partner: bool = False
    """Another job was queued together with it, to be compared."""

    @property
    def phases(self) -> list[str]:
        """Those that the job goes through; one without steps trains nothing."""
        return [phase.value for phase in (PHASES if self.job.steps else TASK_PHASES)]


class JobsTab:
    """Draws the page; `chosen` holds the id of the job whose concept somebody wants to try, `again` of one whose photos
    they want to train on once more.
    """

    def __init__(self, services: Services, page: gr.Blocks) -> None:
        self._services = services
        self.chosen, self.again = gr.State(""), gr.State("")
        draw_keeping_notice(services, page)
        self.comparing = ComparePanel(services, "jobs")
        self._count = gr.State(JOBS)
        self.view = PolledHtml(self._draw, [self._count], elem_id="jobs-shown", js_on_load=ACTIONS_AND_TITLE_JS)
        self.view.refresh_on(page.load)
        outputs = [*self.view.outputs, self.chosen, self.again, *self.comparing.opened, self._count]
        self.acted = self.view.shown.click(spoken(self._act), self._count, outputs, **QUIET_AT_ONCE)

    def _draw(self, request: gr.Request, count: int) -> Drawn:
        return drawn_or_trouble(partial(self._own_jobs, count=count), request)

    def _own_jobs(self, request: gr.Request, count: int) -> Drawn:
        """The newest `count` jobs, and all that are open."""
        owner = self._services.owners.of(request)
        rows = self._services.jobs.rows(owner)
        views = self._services.jobs.views_of([job for n, job in enumerate(rows) if n < count or job.is_open])
        visible = {job.id for job in rows}
        content = render(
            "jobs.html",
            views=[self._card(view, owner, visible) for view in views],
            older=len(rows) - len(views),
            phase_words=PHASE_WORDS,
            title=_title(views),
            could_sign_in=self._services.owners.could_sign_in(request),
        )
        return Drawn(content, goes_on=any(_goes_on(view) for view in views))

    def _card(self, view: JobView, owner: str, visible: set[str]) -> _Card:
        run = self._services.jobs.run_folder(view.job.id)
        comparison = read_comparison(run)
        return _Card(
            job=view.job,
            progress=view.progress,
            place=view.place,
            starts_in_s=view.starts_in_s,
            has_artifact=not view.job.is_open and run.has_result,
            is_own=view.job.owner == owner,
            publication=view.publication,
            money=self._services.spending.lines(view.job, run),
            remote=view.remote,
            cost_usd=view.remote.cost_usd(now()) if view.remote else 0.0,
            has_partner=comparison is not None and comparison.other(view.job.id) in visible,
        )

    def _act(self, count: int, event: gr.EventData, request: gr.Request) -> dict[Component, Any]:
        """A press on one of a card's buttons, or on the one below them."""
        owner = self._services.owners.of(request)
        button = pressed(event)
        job_id, jobs = str(button.get("job", "")), self._services.jobs
        match button.get("action"):
            case "older":
                return self.view.showing(self._own_jobs(request, count + JOBS)) | {self._count: count + JOBS}
            case "stop":
                jobs.stop_and_keep(job_id, owner)
            case "cancel":
                jobs.cancel(job_id, owner)
            case "resume":
                resume(self._services, job_id, owner, request)
            case "resume-here":
                resume(self._services, job_id, owner, request, here=True)
            case "delete":
                jobs.delete(job_id, owner)
            case "retry-publish":
                jobs.publishing.retry(job_id, owner)
            case "withdraw":
                jobs.publishing.withdraw(job_id, owner)
            case "try":
                return self.view.showing(self._own_jobs(request, count)) | {self.chosen: jobs.job(job_id, owner).id}
            case "again":
                return self.view.showing(self._own_jobs(request, count)) | {self.again: jobs.job(job_id, owner).id}
            case "compare":
                return dict(zip(self.comparing.opened, self.comparing.open_for(job_id, owner), strict=True))
            case other:
                raise unknown_button(other)
        return self.view.showing(self._own_jobs(request, count))


def _goes_on(view: JobView) -> bool:
    """Whether what is shown of a job changes by itself."""
    return view.job.is_open or (view.publication is not None and view.publication.state in UNDER_WAY)


def _title(views: list[JobView]) -> str:
    """The tab's title: progress of the running job, from afar."""
    for view in views:
        if view.job.state is JobState.running:
            left = f", {duration(view.progress.eta_s)} left" if view.progress.eta_s is not None else ""
            return f"{view.progress.fraction * 100:.0f} % {view.job.title}{left} · {TITLE}"
    return TITLE

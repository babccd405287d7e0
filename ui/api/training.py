"""Photos, recipes and jobs over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import gradio as gr

from jobs.service import JobService
from jobs.views.outlook import JobView
from trainer.errors import RequestError
from trainer.imports.task import has_task
from trainer.photos.intake import PhotoSet
from trainer.recipe.recipe_file import read_fields
from trainer.run_folder import RunFolder
from ui.api.uploaded import uploaded_files
from ui.resuming import resume
from ui.services import Services
from ui.serving.uploads import release
from ui.train.publish_fields import PublishWish
from ui.train.queueing import Press, Queueing
from ui.train.visitors_recipe import named_base, visitors_recipe

_SHOWN = ("previews", "artifact")
"""Folders of a job whose files a client is told of, of all that `ui.serving.web` serves."""


class TrainingApi:
    """Every call sees only what its owner has."""

    def __init__(self, services: Services) -> None:
        self._services, self._queueing = services, Queueing(services)

    def check_photos(self, photos: list[dict[str, Any]], request: gr.Request) -> dict[str, Any]:
        """The photo check-up: a verdict with reasons for each file and for the set. The photos are not kept."""
        with self._draft_of(self._services.owners.of(request), photos) as (_, taken):
            report = taken.report
            photos = [photo.as_dict() for photo in taken.photos]
            return {"set": report.verdict, "reasons": list(report.reasons), "photos": photos}

    def train(
        self,
        recipe: str | dict[str, Any],
        photos: list[dict[str, Any]],
        request: gr.Request,
        publish: bool = False,  # noqa: FBT001, FBT002 - gradio passes everything by its position
    ) -> dict[str, Any]:
        """Queue a training on these photos (and .txt captions of their names); returns the job as /job does.

        `recipe` is a recipe file's text or its fields: method, name and kind, and whatever is to differ from the
        preset, as for `python -m trainer train --recipe`. `publish`: privately to the Hub, when it is done.
        """
        values = read_fields(recipe) if isinstance(recipe, str) else recipe
        token = self._services.owners.token_of(request)
        owner = self._queueing.admit(named_base(values), token, Press(""), request)
        whole = visitors_recipe(self._services, values, token)
        with self._draft_of(owner, photos) as (draft, _):
            job_id = self._queueing.queue(owner, [whole], Press(draft, PublishWish() if publish else None), request)
        return self.job(job_id, request)

    @contextlib.contextmanager
    def _draft_of(self, owner: str, photos: list[dict[str, Any]]) -> Generator[tuple[str, PhotoSet]]:
        """A draft with these photos, when all were looked at; gone afterwards. Raises RequestError for other files."""
        files = uploaded_files(photos)
        draft = self._services.drafts.new_id()
        try:
            self._services.intake.begin(owner, draft, files, finished=partial(release, files))
            *_, (taken, _) = self._services.intake.follow(owner, draft)
            yield draft, taken
        finally:
            self._services.drafts.discard(owner, draft)

    def jobs(self, request: gr.Request) -> list[dict[str, Any]]:
        """All of one's jobs, the newest first, each as /job gives it."""
        owner = self._services.owners.of(request)
        return [self._as_dict(view, owner) for view in self._services.jobs.views(owner)]

    def job(self, job: str, request: gr.Request) -> dict[str, Any]:
        """A job: its state, phase, step and what is left, its recipe, and its files' addresses below this page's."""
        owner = self._services.owners.of(request)
        return self._as_dict(self._services.jobs.view(job, owner), owner)

    def _as_dict(self, view: JobView, owner: str) -> dict[str, Any]:
        run = self._services.jobs.run_folder(view.job.id)
        files = sorted(file for part in _SHOWN for file in (run.root / part).rglob("*") if file.is_file())
        return {
            **view.as_dict(),
            "recipe": _recipe_of(run) if view.job.owner == owner else None,
            "files": [f"studio/run/{view.job.id}/{run.relative(file)}" for file in files],
        }

    def resume(self, job: str, request: gr.Request) -> dict[str, Any]:
        """Queue a stopped, failed or cancelled job again, from its newest checkpoint. Returns the job as /job does."""
        resume(self._services, job, self._services.owners.of(request), request)
        return self.job(job, request)

    def acting(self, act: Callable[[JobService, str, str], object], what: str) -> Callable[..., dict[str, Any]]:
        """An endpoint that does something to one of one's jobs, and says how the job is then."""

        def acted(job: str, request: gr.Request) -> dict[str, Any]:
            act(self._services.jobs, job, self._services.owners.of(request))
            return self.job(job, request)

        acted.__doc__ = f"{what} Returns the job as /job does."
        return acted

    def delete(self, job: str, request: gr.Request) -> str:
        """Remove an ended job and its files; returns its id."""
        self._services.jobs.delete(job, self._services.owners.of(request))
        return job


def _recipe_of(run: RunFolder) -> dict[str, Any] | None:
    """What /train can be given once more; None for what is no training, or one whose files are gone."""
    try:
        return None if has_task(run) else run.read_recipe().model_dump(mode="json")
    except RequestError:
        return None

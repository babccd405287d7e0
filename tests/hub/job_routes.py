"""Jobs: start, watch, label, cancel."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.hub.accounts import Action
from tests.hub.hardware import FOR_JOBS
from tests.hub.job_runner import CANCELED, Job
from tests.hub.refusals import Refusal
from tests.hub.state import Hub, json_body

_POLL_S = 0.05


class JobRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        jobs = "/api/jobs/{namespace:segment}"
        job = f"{jobs}/{{job:segment}}"
        return [
            Route("/api/jobs/hardware", self.hardware),
            Route(jobs, self.list_jobs),
            Route(jobs, self.run, methods=["POST"]),
            Route(job, self.inspect),
            Route(f"{job}/cancel", self.cancel, methods=["POST"]),
            Route(f"{job}/labels", self.label, methods=["PUT"]),
            Route(f"{job}/logs", self.logs),
        ]

    async def hardware(self, _request: Request) -> JSONResponse:
        return JSONResponse([machine.describe() for machine in FOR_JOBS])

    async def run(self, request: Request) -> JSONResponse:
        namespace = request.path_params["namespace"]
        token = self._hub.may_in_namespace(request, namespace, Action.RUN_JOBS)
        if not token.user.pays:
            raise Refusal(402, "Payment required: pre-paid credits are needed to run Jobs")
        spec = await json_body(request)
        if spec["flavor"] not in {machine.name for machine in FOR_JOBS}:
            raise Refusal(400, f"Unknown hardware: {spec['flavor']}")
        job = Job(spec, namespace, of_user=namespace in self._hub.accounts.users)
        if spec.get("spaceId"):
            space = self._hub.repository_for(token, "space", spec["spaceId"], Action.READ)
            for path, entry in space.head.files.items():
                target = self._hub.jobs.app_folder_of(job) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._hub.blobs.path(entry.sha256), target)
        self._hub.jobs.submit(job)
        return JSONResponse(job.describe())

    async def list_jobs(self, request: Request) -> JSONResponse:
        namespace = request.path_params["namespace"]
        self._hub.may_in_namespace(request, namespace, Action.SEE_JOBS)
        stages = request.query_params.getlist("stage")
        labels = dict(label.split("=", 1) for label in request.query_params.getlist("label"))
        found = [
            job.describe()
            for job in reversed(self._hub.jobs.jobs.values())
            if job.namespace == namespace
            and (not stages or job.stage in stages)
            and labels.items() <= job.spec.get("labels", {}).items()
        ]
        return JSONResponse(found)

    async def inspect(self, request: Request) -> JSONResponse:
        return JSONResponse(self._job(request, Action.SEE_JOBS).describe())

    async def cancel(self, request: Request) -> JSONResponse:
        job = self._job(request, Action.RUN_JOBS)
        self._hub.jobs.stop(job, CANCELED)
        return JSONResponse(job.describe())

    async def label(self, request: Request) -> JSONResponse:
        job = self._job(request, Action.RUN_JOBS)
        job.spec["labels"] = (await json_body(request))["labels"]
        return JSONResponse(job.describe())

    async def logs(self, request: Request) -> Response:
        job = self._job(request, Action.SEE_JOBS)
        tail = request.query_params.get("tail")
        first = max(0, len(job.lines) - int(tail)) if tail else 0
        return StreamingResponse(_follow(job, first), media_type="text/event-stream")

    def _job(self, request: Request, action: Action) -> Job:
        namespace = request.path_params["namespace"]
        job = self._hub.jobs.jobs.get(request.path_params["job"])
        token = self._hub.accounts.signed_in(request)
        if job is None or job.namespace != namespace or not token.powers(namespace):
            raise Refusal(404, "Job not found")
        self._hub.may_in_namespace(request, namespace, action)
        return job


async def _follow(job: Job, first: int) -> AsyncIterator[str]:
    """The Job's lines as server-sent events, until it is over."""
    place = first
    while True:
        over = job.over  # asked before the lines are read, or the last ones could be missed
        while place < len(job.lines):
            yield f"data: {json.dumps(job.lines[place].describe())}\n\n"
            place += 1
        if over:
            return
        await asyncio.sleep(_POLL_S)

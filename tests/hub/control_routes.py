"""How tests command the Hub. Only who knows the key may; the program under test does not."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.hub.accounts import TokenKind
from tests.hub.faults import CONTROL, KEY_HEADER, Fault, FaultInjector
from tests.hub.refusals import Refusal, not_found, refusal_response
from tests.hub.sign_in import Visitor
from tests.hub.state import Hub, json_body


class ControlRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub, key: str) -> None:
        self._hub, self._key = hub, key
        self._faults: FaultInjector | None = None

    def command(self, faults: FaultInjector) -> None:
        """Name what failures are ordered from; it stands around the application, so it comes last."""
        self._faults = faults

    def mount(self) -> Mount:
        routes = [
            Route("/reset", self.reset, methods=["POST"]),
            Route("/faults", self.order_fault, methods=["POST"]),
            Route("/faults", self.clear_faults, methods=["DELETE"]),
            Route("/requests", self.requests),
            Route("/tokens", self.issue_token, methods=["POST"]),
            Route("/tokens/{token}", self.revoke_token, methods=["DELETE"]),
            Route("/visitor", self.seat_visitor, methods=["PUT"]),
            Route("/jobs", self.hold_jobs, methods=["PUT"]),
            Route("/jobs/{job}", self.end_job, methods=["PUT"]),
            Route("/spaces/{namespace}/{name}", self.set_space_stage, methods=["PUT"]),
        ]
        return Mount(CONTROL.rstrip("/"), routes=routes, middleware=[Middleware(_KeyCheck, key=self._key)])

    @property
    def _injector(self) -> FaultInjector:
        assert self._faults is not None
        return self._faults

    async def reset(self, _request: Request) -> JSONResponse:
        self._hub.start_afresh()
        self._injector.clear()
        return JSONResponse({})

    async def order_fault(self, request: Request) -> JSONResponse:
        self._injector.order(Fault(**await json_body(request)))
        return JSONResponse({})

    async def clear_faults(self, _request: Request) -> JSONResponse:
        self._injector.clear_orders()
        return JSONResponse({})

    async def requests(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._injector.journal())

    async def issue_token(self, request: Request) -> JSONResponse:
        wanted = await json_body(request)
        wanted["kind"] = TokenKind(wanted["kind"])
        return JSONResponse({"token": self._hub.accounts.issue(**wanted).value})

    async def revoke_token(self, request: Request) -> JSONResponse:
        self._hub.accounts.revoke(request.path_params["token"])
        return JSONResponse({})

    async def seat_visitor(self, request: Request) -> JSONResponse:
        self._hub.desk.visitor = Visitor(**await json_body(request))
        return JSONResponse({})

    async def hold_jobs(self, request: Request) -> JSONResponse:
        self._hub.jobs.hold((await json_body(request))["held"])
        return JSONResponse({})

    async def end_job(self, request: Request) -> JSONResponse:
        wanted = await json_body(request)
        job = self._hub.jobs.jobs.get(request.path_params["job"])
        if job is None:
            raise Refusal(404, "Job not found")
        self._hub.jobs.stop(job, wanted["stage"], wanted["message"])
        return JSONResponse({})

    async def set_space_stage(self, request: Request) -> JSONResponse:
        repo_id = f"{request.path_params['namespace']}/{request.path_params['name']}"
        repository = self._hub.repositories.find("space", repo_id)
        if repository is None or repository.space is None:
            raise not_found("Repository", "RepoNotFound")
        repository.space.stage_set_by_test = (await json_body(request))["stage"]
        return JSONResponse({})


class _KeyCheck:
    """Lets only those in who know the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if Request(scope).headers.get(KEY_HEADER) == self._key:
            await self._app(scope, receive, send)
        else:
            await refusal_response(403, "Only tests may command the Hub")(scope, receive, send)

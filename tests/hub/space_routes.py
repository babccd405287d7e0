"""Spaces: where they run, what that costs, when they sleep, what they know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.hub.accounts import Action
from tests.hub.clock import timestamp
from tests.hub.hardware import FOR_SPACES, FREE
from tests.hub.refusals import Refusal
from tests.hub.repositories import Repository
from tests.hub.spaces import STATIC, Setting, Settings, Space
from tests.hub.state import Hub, json_body

_SPACE = "/api/spaces/{namespace:segment}/{name:segment}"
Change = Callable[[Space, dict[str, Any], Request], None]


class SpaceRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        return [
            Route("/api/spaces/hardware", self.hardware),
            Route(f"{_SPACE}/runtime", self.runtime),
            Route(f"{_SPACE}/hardware", self._changing(self._request_hardware), methods=["POST"]),
            Route(f"{_SPACE}/sleeptime", self._changing(_set_sleep), methods=["POST"]),
            Route(f"{_SPACE}/pause", self._changing(_pause), methods=["POST"]),
            Route(f"{_SPACE}/restart", self._changing(_restart), methods=["POST"]),
            Route(f"{_SPACE}/secrets", self.secrets, methods=["GET", "POST", "DELETE"]),
            Route(f"{_SPACE}/variables", self.variables, methods=["GET", "POST", "DELETE"]),
        ]

    async def hardware(self, _request: Request) -> JSONResponse:
        return JSONResponse([machine.describe() for machine in FOR_SPACES])

    async def runtime(self, request: Request) -> JSONResponse:
        repository, space = self._space(request, Action.READ)
        return JSONResponse(space.runtime(repository.head.files))

    async def secrets(self, request: Request) -> JSONResponse:
        _, space = self._space(request, Action.MANAGE)
        await _change_settings(request, space.secrets)
        return JSONResponse({key: value.describe(secret=True) for key, value in space.secrets.items()})

    async def variables(self, request: Request) -> JSONResponse:
        _, space = self._space(request, Action.READ if request.method == "GET" else Action.MANAGE)
        await _change_settings(request, space.variables)
        return JSONResponse({key: value.describe(secret=False) for key, value in space.variables.items()})

    def _space(self, request: Request, action: Action) -> tuple[Repository, Space]:
        request.path_params["kind"] = "space"
        repository = self._hub.repository(request, action)
        assert repository.space is not None
        return repository, repository.space

    def _changing(self, change: Change) -> Callable[[Request], Awaitable[JSONResponse]]:
        """A route that changes how a Space runs and answers how it runs then."""

        async def route(request: Request) -> JSONResponse:
            repository, space = self._space(request, Action.MANAGE)
            if space.sdk == STATIC:
                raise Refusal(400, "A static Space always runs")
            change(space, await json_body(request), request)
            return JSONResponse(space.runtime(repository.head.files))

        return route

    def _request_hardware(self, space: Space, wanted: dict[str, Any], request: Request) -> None:
        if wanted["flavor"] != FREE and not self._hub.accounts.signed_in(request).user.pays:
            raise Refusal(402, "Payment required: credits are needed for this hardware")
        space.request_hardware(wanted["flavor"], wanted.get("sleepTimeSeconds"))


def _set_sleep(space: Space, wanted: dict[str, Any], _request: Request) -> None:
    space.set_sleep(wanted["seconds"])


def _pause(space: Space, _wanted: dict[str, Any], _request: Request) -> None:
    space.paused = True


def _restart(space: Space, _wanted: dict[str, Any], _request: Request) -> None:
    space.paused = False


async def _change_settings(request: Request, settings: Settings) -> None:
    wanted = await json_body(request)
    if request.method == "POST":
        settings[wanted["key"]] = Setting(wanted["value"], wanted.get("description"), timestamp())
    elif request.method == "DELETE":
        settings.pop(wanted["key"], None)

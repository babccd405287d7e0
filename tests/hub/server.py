"""The Hub as a process: `python -m tests.hub.server`, its settings as one line of JSON on standard input.

It writes its port as a line on standard output, and ends when its input ends: so it never outlives its test run.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.hub.bucket_routes import BucketRoutes
from tests.hub.control_routes import ControlRoutes
from tests.hub.download_routes import DownloadRoutes
from tests.hub.faults import FaultInjector
from tests.hub.job_routes import JobRoutes
from tests.hub.paths import RawPaths
from tests.hub.refusals import Moved, Refusal, answer_moved, answer_nobody, answer_refusal, answer_unknown_route
from tests.hub.repo_routes import RepoRoutes
from tests.hub.sign_in_routes import SignInRoutes
from tests.hub.space_routes import SpaceRoutes
from tests.hub.state import Hub, Options
from tests.hub.tree_routes import TreeRoutes
from tests.hub.upload_routes import UploadRoutes


class CuttableConnection(H11Protocol):
    """Tells the application which connection a request came on, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": transport}


def build_app(hub: Hub, control_key: str) -> ASGIApp:
    """All routes, within what makes them fail."""
    control = ControlRoutes(hub, control_key)
    parts = (
        *(RepoRoutes, TreeRoutes, UploadRoutes, DownloadRoutes),
        *(SpaceRoutes, JobRoutes, BucketRoutes, SignInRoutes),
    )
    app = Starlette(
        routes=[control.mount(), *(route for part in parts for route in part(hub).routes())],
        exception_handlers={
            **{Refusal: answer_refusal, Moved: answer_moved, HTTPException: answer_unknown_route},
            ClientDisconnect: answer_nobody,
        },
    )
    app.router.redirect_slashes = False
    # whoever revokes must ask the hub each time: a fresh start brings other accounts
    faults = FaultInjector(app, lambda token: hub.accounts.revoke(token))
    control.command(faults)
    return RawPaths(faults)


def main() -> None:
    """Serve until standard input ends."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    run_in = settings["jobs_run_in"]
    options = Options(settings["multipart_bytes"], settings["xet_reads"], Path(run_in) if run_in else None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        hub = Hub(f"http://127.0.0.1:{port}", Path(settings["folder"]), options)
        config = uvicorn.Config(
            build_app(hub, settings["control_key"]),
            http=CuttableConnection,
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
        print(port, flush=True)
        server.run(sockets=[listener])
    hub.jobs.stop_all()


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    while os.read(0, 1):  # the bare descriptor: a buffered reader's lock aborts the interpreter at exit
        pass
    server.should_exit = True


if __name__ == "__main__":
    main()

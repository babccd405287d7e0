"""The way of files out of a repository: small ones from the Hub, big ones from its storage or through Xet."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.hub.paths import REPO_API, REPO_SITE
from tests.hub.refusals import Refusal, refusal_response
from tests.hub.repo_routes import check_gate
from tests.hub.state import Hub
from tests.hub.upload_routes import check_storage_request, xet_token
from tests.hub.xet_store import address


class DownloadRoutes:
    """The routes of this module."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self) -> list[Route]:
        return [
            Route(f"{REPO_SITE}/resolve/{{revision:segment}}/{{path:rest}}", self.resolve),
            Route(f"{REPO_API}/xet-read-token/{{revision:segment}}", self.xet_read_token),
            Route("/storage/{sha256}", self.storage),
        ]

    async def resolve(self, request: Request) -> Response:
        repository = self._hub.repository(request)
        check_gate(self._hub, request, repository)
        commit = repository.commit_at(request.path_params["revision"])
        entry = commit.files.get(request.path_params["path"])
        headers = {"X-Repo-Commit": commit.id}
        if entry is None:
            refusal = refusal_response(404, "Entry not found", code="EntryNotFound")
            refusal.headers.update(headers)  # clients remember in which commit a file is missing
            return refusal
        headers["ETag"] = f'"{entry.blob_id}"'
        if entry.lfs is None:
            return FileResponse(self._hub.blobs.path(entry.sha256), headers=headers)
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        if entry.xet_hash is not None and self._hub.options.xet_reads:
            route = f"/api/{repository.kind}s/{repository.id}/xet-read-token/{commit.id}"
            headers |= {"X-Xet-Hash": entry.xet_hash, "X-Xet-Refresh-Route": self._hub.base_url + route}
        return RedirectResponse(f"{self._hub.storage_url}/{entry.sha256}", 302, headers)

    async def storage(self, request: Request) -> Response:
        check_storage_request(request)
        sha256 = request.path_params["sha256"]
        if not self._hub.blobs.has(sha256):
            raise Refusal(404, "No such object")
        return FileResponse(self._hub.blobs.path(sha256), headers={"ETag": f'"{sha256}"'})

    async def xet_read_token(self, request: Request) -> JSONResponse:
        repository = self._hub.repository(request)
        check_gate(self._hub, request, repository)
        commit = repository.commit_at(request.path_params["revision"])
        contents = {
            entry.xet_hash: self._hub.blobs.path(entry.sha256)
            for entry in commit.files.values()
            if entry.xet_hash is not None
        }
        folder = await asyncio.to_thread(self._hub.xet.new_download_folder, contents)
        return xet_token(address(folder))

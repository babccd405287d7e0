"""What stands between the browser and gradio, and each owner's own files.

Gradio's file URLs work for whoever has them; ours ask whose they are, and answer 404 to everybody else.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.publishing.repository import public_manifest
from trainer.artifact import read_manifest
from trainer.errors import RequestError
from trainer.recipe.recipe_file import recipe_text
from trainer.run_folder import MANIFEST_FILE, RunFolder
from trainer.settings import Settings
from ui.owners import OwnerCookie
from ui.services import Services
from ui.serving.hosts import KnownHosts
from ui.serving.leaving import LeaveInPeace
from ui.serving.request_limits import BodyLimit, NothingFromElsewhere, WholeUploads
from ui.serving.same_origin import SameOrigin

PREFIX = "/studio/"
_SHARED_PARTS = ("previews", "artifact", "photos/thumbs")


def build_middleware(services: Services, settings: Settings) -> list[Middleware]:
    """What stands between the browser and gradio, the outermost first."""
    return [
        Middleware(KnownHosts, settings=settings),
        Middleware(SameOrigin),
        Middleware(NothingFromElsewhere),
        Middleware(BodyLimit),
        Middleware(WholeUploads, folder=settings.uploads_dir),
        Middleware(OwnerCookie, policy=services.owners, adopt=services.adopt),
        Middleware(PrivateFiles, services=services),
        Middleware(LeaveInPeace),
    ]


class PrivateFiles:
    """Serves /studio/draft/ID/..., /studio/run/ID/... and /studio/picture/NAME to their owner alone.

    Pictures are kept by the browser, because they never change; results and logs do, when a job goes on.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        response = await run_in_threadpool(self._respond, Request(scope))  # it asks the database
        response.headers.setdefault("cache-control", "no-store")
        response.headers["x-content-type-options"] = "nosniff"
        await response(scope, receive, send)

    def _respond(self, request: Request) -> Response:
        owner = self._services.owners.of_scope(request.scope)
        kind, _, rest = request.url.path.removeprefix(PREFIX).partition("/")
        if owner is None or request.method not in ("GET", "HEAD"):
            return _not_found()
        try:
            match kind:
                case "draft":
                    draft_id, _, name = rest.partition("/")
                    return _draft_picture(self._services.drafts.folder(owner, draft_id), name)
                case "run":
                    job_id, _, name = rest.partition("/")
                    return self._run_file(owner, job_id, name)
                case "picture":
                    return _picture(self._services.pictures.folder(owner), rest)
                case _:
                    return _not_found()
        except RequestError:
            return _not_found()

    def _run_file(self, owner: str, job_id: str, name: str) -> Response:
        job = self._services.jobs.job(job_id, owner)
        run = self._services.jobs.run_folder(job.id)
        is_own = job.owner == owner
        if name == "artifact.zip":
            return _zipped(run.artifact, f"{job.name}.zip", None if is_own else _manifest_for_all(run))
        if name == f"artifact/{MANIFEST_FILE}" and not is_own:
            return Response(_manifest_for_all(run), media_type="application/json")
        if name == "recipe.yaml":
            return _recipe(run) if is_own else _not_found()
        if name == "log.txt":  # it names folders of this machine, so an example's is not for everybody
            return _file(run.root, name) if is_own else _not_found()
        part = next((part for part in _SHARED_PARTS if name.startswith(f"{part}/")), None)
        if part is None:
            return _not_found()
        serve = partial(_file, download=True) if part == "artifact" else _picture
        return serve(run.root / part, name.removeprefix(f"{part}/"))


def _not_found() -> Response:
    return PlainTextResponse("There is no such file.", 404)


def _file(folder: Path, name: str, *, download: bool = False) -> Response:
    """A file inside `folder`, never outside it."""
    try:
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            return _not_found()
    except (OSError, ValueError):  # a name that is too long, or holds what no name can
        return _not_found()
    return FileResponse(file, filename=file.name if download else None)


def _manifest_for_all(run: RunFolder) -> bytes:
    """The manifest of what is everybody's, without the folders of this machine."""
    return public_manifest(read_manifest(run.artifact)).encode()


def _recipe(run: RunFolder) -> Response:
    recipe = run.read_recipe()
    headers = {"content-disposition": f'attachment; filename="{recipe.name}.yaml"'}
    return Response(recipe_text(recipe), media_type="application/yaml", headers=headers)


def _picture(folder: Path, name: str) -> Response:
    response = _file(folder, name)
    if response.status_code == HTTPStatus.OK:
        response.headers["cache-control"] = "private, max-age=3600"
    return response


def _draft_picture(draft: Path, name: str) -> Response:
    """A photo's thumbnail, or under whole/ the photo itself."""
    if not name.endswith(".jpg"):  # what else lies in a draft's folder is no picture
        return _not_found()
    if name.startswith("whole/"):
        return _picture(draft, name.removeprefix("whole/"))
    return _picture(draft / "thumbs", name)


def _zipped(folder: Path, name: str, manifest: bytes | None) -> Response:
    """All files of a folder as one archive, made while it is sent; with another `manifest`, if one is given."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if not files:
        return _not_found()
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_zip_chunks(folder, files, manifest), media_type="application/zip", headers=headers)


class _Chunks:
    """A write-only stream that hands its bytes on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _zip_chunks(folder: Path, files: list[Path], manifest: bytes | None) -> Iterator[bytes]:
    stream = _Chunks()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload] - weights do not compress
        for file in files:
            instead = manifest if file == folder / MANIFEST_FILE else None
            with (
                archive.open(file.relative_to(folder).as_posix(), "w", force_zip64=True) as entry,
                file.open("rb") if instead is None else BytesIO(instead) as data,
            ):
                while block := data.read(2**20):
                    entry.write(block)
                    yield stream.taken()
    yield stream.taken()

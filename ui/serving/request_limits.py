"""What a request may bring, and what it may make gradio do: nobody fills memory or disk, or fetches by this machine."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio import processing_utils
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainer.disk_need import free_bytes

UPLOADS = "/gradio_api/upload"
MAX_BODY_BYTES = 2 * 2**20
MAX_UPLOAD_BYTES = 2 * 2**30
RESERVE_BYTES = 2**28
"""Of the disk, which uploads leave alone: checkpoints and the jobs' database are on it."""
_LOOK_AT_DISK_EVERY = 16 * 2**20
_FETCHED = ("/gradio_api/file=http", "/gradio_api/file/http", "/gradio_api/proxy=")


def fetch_no_files() -> None:
    """Let gradio refuse a file that is named by its address: it reads whatever is there into memory, of any size."""

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("Files of other addresses are not taken; upload them with handle_file.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


class NothingFromElsewhere:
    """Answers 404 to the routes by which gradio would fetch any address of the web, for anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].lower().startswith(_FETCHED):
            await PlainTextResponse("There is no such file.", 404)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Answers 413 to bodies over MAX_BODY_BYTES, but for file uploads, which gradio streams to disk."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_upload(scope):
            await self._app(scope, receive, send)
            return
        length = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            await PlainTextResponse("This request is too large.", 413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:  # a body without a length: cut it off
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, counted, send)


def _is_upload(scope: Scope) -> bool:
    is_form = any(n == b"content-type" and v.startswith(b"multipart/form-data") for n, v in scope["headers"])
    return is_form and scope["path"] == UPLOADS


class WholeUploads:
    """Breaks off uploads that are too large for the disk or for one request, and lets none stay that is not whole.

    A MultiPartException is the one way in which gradio removes what had come of an upload.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_upload(scope):
            await self._app(scope, receive, send)
            return
        whole, received, looked = False, 0, 0

        async def until_whole() -> Message:
            nonlocal whole, received, looked
            message = await receive()
            if message["type"] == "http.disconnect" and not whole:
                raise MultiPartException("The upload was broken off.")
            received += len(message.get("body", b""))
            if received > MAX_UPLOAD_BYTES:
                raise MultiPartException("These files are too large together; send fewer at a time.")
            if received >= looked:
                looked = received + _LOOK_AT_DISK_EVERY
                if free_bytes(self._folder) < RESERVE_BYTES:
                    raise MultiPartException("The disk of this machine is too full for uploads.")
            whole = whole or not message.get("more_body", False)
            return message

        await self._app(scope, until_whole, send)

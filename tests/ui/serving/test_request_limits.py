"""What a request may bring: bodies and uploads of bounded size, and never more than the disk has room for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.serving import request_limits
from ui.serving.request_limits import (
    MAX_BODY_BYTES,
    RESERVE_BYTES,
    UPLOADS,
    BodyLimit,
    NothingFromElsewhere,
    WholeUploads,
)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    async def length(request: Request) -> PlainTextResponse:
        try:
            return PlainTextResponse(str(len(await request.body())))
        except MultiPartException as error:  # as gradio's route does
            return PlainTextResponse(error.message, 400)

    site = Starlette(routes=[Route("/{path:path}", length, methods=["GET", "POST"])])
    site.add_middleware(WholeUploads, folder=tmp_path)
    site.add_middleware(BodyLimit)
    site.add_middleware(NothingFromElsewhere)
    return TestClient(site, raise_server_exceptions=False)


@pytest.mark.fault(52)
def test_large_bodies_are_refused_and_uploads_are_not(client: TestClient) -> None:
    large = b"x" * (MAX_BODY_BYTES + 1)
    assert client.post("/", content=large).status_code == 413
    assert client.post("/", content=b"x" * 1000).text == "1000"
    assert client.post(UPLOADS, files={"file": large}).status_code == 200
    assert client.post("/", files={"file": large}).status_code == 413  # it would be read into memory


@pytest.mark.fault(52)
def test_large_body_without_a_length_is_cut_off(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 2**20 + 2):
            yield b"x" * 2**20

    assert client.post("/", content=pieces()).status_code >= 400


@pytest.mark.fault(52)
def test_upload_that_is_too_large_as_a_whole_is_broken_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MAX_UPLOAD_BYTES", 5000)
    files = [("files", (f"{number}.jpg", b"x" * 2000)) for number in range(3)]
    answer = client.post(UPLOADS, files=files)
    assert (answer.status_code, "send fewer at a time" in answer.text) == (400, True)


@pytest.mark.fault(52)
def test_upload_leaves_the_disk_its_reserve(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "free_bytes", lambda folder: RESERVE_BYTES - 1)
    answer = client.post(UPLOADS, files={"file": b"x"})
    assert (answer.status_code, answer.text) == (400, "The disk of this machine is too full for uploads.")


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/file=https://a.example/", "/gradio_api/file=HTTP://a"),
        "/gradio_api/file/http://a",
        "/gradio_api/proxy=x",
    ],
)
def test_nothing_is_fetched_for_anybody(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.get("/gradio_api/file=/tmp/x").status_code == 200

"""Scripts and forms of other websites act for nobody; links, frames, programs and the page itself do as before."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.serving.same_origin import SameOrigin

HOST = "studio.example:7860"
NAVIGATES = {"sec-fetch-mode": "navigate"}
CROSS = {"sec-fetch-site": "cross-site"}


async def done(_: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


SITE = Starlette(routes=[Route("/", done, methods=["GET", "POST", "OPTIONS"])])
SITE.add_middleware(SameOrigin)


def status(method: str, headers: dict[str, str]) -> int:
    return TestClient(SITE).request(method, "/", headers={"host": HOST} | headers).status_code


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", CROSS | {"origin": "https://evil.example"}),
        ("POST", CROSS | {"origin": f"http://{HOST}"}),
        ("POST", CROSS | NAVIGATES),
        ("GET", CROSS | {"sec-fetch-mode": "cors"}),
        ("GET", CROSS | {"sec-fetch-mode": "no-cors"}),
        ("POST", {"sec-fetch-site": "same-site", "origin": "http://other.example:7860"}),
        ("POST", {"origin": "https://evil.example"}),
        ("POST", {"origin": "http://studio.example:3000"}),
        ("GET", {"origin": "null"}),
        ("OPTIONS", {"origin": "https://evil.example"}),
    ],
)
def test_other_websites_are_refused(method: str, headers: dict[str, str]) -> None:
    assert status(method, headers) == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"sec-fetch-site": "same-origin", "origin": "https://behind-a-proxy.example"}),
        ("GET", {"sec-fetch-site": "none"} | NAVIGATES),
        ("GET", CROSS | NAVIGATES),
        ("GET", CROSS | NAVIGATES | {"sec-fetch-dest": "iframe"}),
        ("POST", {"origin": f"http://{HOST}"}),
        ("POST", {"origin": f"https://{HOST.upper()}"}),
        ("POST", {}),
        ("GET", {}),
    ],
)
def test_page_links_frames_and_programs_are_not(method: str, headers: dict[str, str]) -> None:
    assert status(method, headers) == 200

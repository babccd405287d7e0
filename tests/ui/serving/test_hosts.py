"""A website that lets its name lead to this machine must not become its owner."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from trainer.settings import Settings
from ui.serving.hosts import KnownHosts

ADDRESSES = (
    *("127.0.0.1:7860", "127.0.0.1", "localhost:7860", "LocalHost", "[::1]:7860", "[::1]"),
    *("192.168.1.20:7860", "[fe80::1]:8000"),
)
STRANGE = ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", "")


def status(said: dict[str, str], host: str) -> int:
    """What a page with these settings answers to who calls it `host`."""

    async def hello(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    site = Starlette(routes=[Route("/", hello)])
    site.add_middleware(KnownHosts, settings=Settings.model_validate({"home": Path("/tmp"), **said}))
    answer = TestClient(site).get("/", headers={"host": host})
    assert answer.text == "hello" or answer.text.endswith("Open it by its address, such as http://127.0.0.1:7860")
    return answer.status_code


@pytest.mark.fault(40)
@pytest.mark.parametrize("host", [*ADDRESSES, *STRANGE])
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"GRADIO_SERVER_NAME": "::1"},
        {"owners": "browser"},
        {"GRADIO_SERVER_NAME": "0.0.0.0", "owners": "single"},
    ],
)
def test_page_that_trusts_who_reaches_it_answers_to_no_strange_name(said: dict[str, str], host: str) -> None:
    assert status(said, host) == (200 if host in ADDRESSES else 400)


def test_name_that_the_page_was_given_is_no_strange_one() -> None:
    said = {"GRADIO_SERVER_NAME": "Studio.lan", "owners": "single"}
    assert status(said, "studio.lan:7860") == 200
    assert status(said, "other.lan:7860") == 400


def test_space_and_a_page_for_many_answer_to_every_name() -> None:
    assert status({"SPACE_ID": "anna/studio", "owners": "single"}, "anna-studio.hf.space") == 200
    assert status({"GRADIO_SERVER_NAME": "0.0.0.0"}, "studio.example.org") == 200

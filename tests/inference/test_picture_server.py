"""What a request hears while it waits, and who comes first. The engine's own work is tested elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference import picture_server
from inference.picture_server import PictureServer, _Visit
from inference.protocol import ANSWERS, Ask, Refused, Waiting, Working
from inference.request import PictureRequest
from tests.waiting import PATIENCE_S
from trainer.errors import BaseModelError
from trainer.machine.devices import Device
from trainer.machine.lease import DeviceLease
from trainer.machine.process import StopSignal
from trainer.settings import Settings

Tell = Callable[[int, int], None]
GPU = Device(0, "a GPU")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> PictureServer:
    monkeypatch.setattr(picture_server, "find_devices", lambda _visible: [GPU])
    return PictureServer(settings, StopSignal())


def visit(tmp_path: Path) -> tuple[_Visit, socket.socket]:
    ours, theirs = socket.socketpair()
    return _Visit(ours, Ask(request=PictureRequest(prompt="a cat"), folder=tmp_path)), theirs


def heard(theirs: socket.socket) -> list[Any]:
    theirs.settimeout(PATIENCE_S)
    return [ANSWERS.validate_json(line) for line in theirs.recv(10_000).splitlines()]


def downloading(_request: PictureRequest, _step: Tell, downloaded: Tell, *, token: str | None) -> None:
    downloaded(120, 4300)
    raise BaseModelError("That was enough.")


def answer_next(server: PictureServer) -> None:
    asked = server._line.next(1)
    assert asked is not None
    server._answer(asked)


def test_download_of_a_base_is_told_in_megabytes(
    server: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._engine, "generate", downloading)
    asked, theirs = visit(tmp_path)
    server._line.join("anna", asked)
    with theirs:
        answer_next(server)
        assert heard(theirs)[1:] == [Working(done=120, total=4300, unit="MB"), Refused(text="That was enough.")]


def test_training_does_not_wait_for_a_download_and_the_request_comes_after_it(
    server: PictureServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._engine, "generate", downloading)
    asked, theirs = visit(tmp_path)
    server._line.join("anna", asked)
    with theirs, asked.connection:
        with DeviceLease(settings.runtime_dir, GPU).for_training():
            answer_next(server)
        assert server._line.waiting() == [asked]
        assert not any(isinstance(answer, Refused) for answer in heard(theirs))
        answer_next(server)
        assert heard(theirs)[-1] == Refused(text="That was enough.")


def test_whoever_has_heard_the_end_of_a_request_does_not_wait_for_it(
    server: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._engine, "generate", downloading)
    unfinished: list[tuple[str, int]] = []

    def tell(_visit: _Visit, answer: Working | Refused) -> None:
        unfinished.append((answer.event, server._line.ahead("ben")))

    monkeypatch.setattr(_Visit, "tell", tell)
    asked, theirs = visit(tmp_path)
    server._line.join("anna", asked)
    with theirs:
        answer_next(server)
    assert unfinished == [("working", 1), ("working", 1), ("refused", 0)]


def test_those_who_wait_long_are_told_that_they_are_not_forgotten(server: PictureServer, tmp_path: Path) -> None:
    visits = [visit(tmp_path) for _ in range(3)]
    for number, (waiting, _) in enumerate(visits):
        server._line.join(number, waiting)
    assert server._line.next(1) is visits[0][0]
    visits[0][0].tell(Working(done=1, total=20))
    server._remind()
    for place, (waiting, theirs) in enumerate(visits):
        with theirs, waiting.connection:
            assert heard(theirs) == ([Waiting(ahead=place)] if place else [Working(done=1, total=20)] * 2)


def test_who_left_the_line_is_before_nobody(server: PictureServer, tmp_path: Path) -> None:
    gone, theirs = visit(tmp_path)
    staying, listens = visit(tmp_path)
    for waiting in (gone, staying):
        server._line.join("anna", waiting)
    theirs.close()
    with listens, staying.connection:
        server._tell_those_who_wait()
        assert server._line.waiting() == [staying]
        assert gone.connection.fileno() == -1
        assert server._line.ahead("ben") == 1

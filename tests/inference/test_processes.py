"""The generator as a process, and pictures by command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inference.__main__ import main
from inference.catalog import use_together
from inference.client import GeneratorClient
from inference.engine import Engine, Result
from inference.generator import _take_place
from inference.metadata import read_settings
from inference.protocol import Made, Refused, Waiting, Working, generator_socket
from inference.request import PictureRequest
from tests import ROOT
from tests.command import run_command
from tests.waiting import PATIENCE_S, wait_until
from trainer.machine.locks import hold_lock
from trainer.machine.process import StopKind, StopSignal
from trainer.run_folder import RunFolder
from trainer.settings import Settings

Runs = dict[str, RunFolder]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def generator(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    settings.home.mkdir()
    environment = {**os.environ, "STUDIO_HOME": str(settings.home)}
    with (settings.home / "generator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "inference.generator"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: listens(settings) or process.poll() is not None, "the generator listens")
        assert process.poll() is None, (settings.home / "generator.log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def listens(settings: Settings) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(generator_socket(settings.runtime_dir))) == 0


def ask(base: Path, **changes: object) -> PictureRequest:
    values = {"prompt": "a teapot", "base": str(base), "width": 64, "height": 64, "steps": 3, "seed": 5, **changes}
    return PictureRequest(**values)  # type: ignore[arg-type]


def test_generator_waits_for_the_one_before_it_to_end(tmp_path: Path) -> None:
    """The page was killed while pictures were made: the old process would take the new one's socket away."""
    lock, stop, in_place = tmp_path / "generator.lock", StopSignal(), threading.Event()

    def begin() -> None:
        with ExitStack() as held:
            assert _take_place(lock, stop, held)
            in_place.set()

    with hold_lock(lock, what="the one before"):
        thread = threading.Thread(target=begin)
        thread.start()
        assert not in_place.wait(0.3)
    assert in_place.wait(PATIENCE_S)
    thread.join()
    with hold_lock(lock, what="the one before"):
        stop.kind = StopKind.checkpoint
        with ExitStack() as held:
            assert not _take_place(lock, stop, held)  # stopped while it waited: the socket is the other one's


def test_generator_makes_pictures_and_survives_what_it_cannot_do(
    generator: subprocess.Popen[bytes], settings: Settings, tiny_model: Path, tmp_path: Path, concepts: Runs
) -> None:
    client = GeneratorClient(settings.runtime_dir)
    uses = use_together([(concepts["textual-inversion"].root, 1.0)])
    answers = list(client.generate(ask(tiny_model, count=2, prompt="a <red-mug>", concepts=uses), tmp_path / "out"))
    made = answers[-1]
    assert isinstance(made, Made)
    assert [a.done for a in answers if isinstance(a, Working)] == [0, 2, 4, 6]
    settings_inside = read_settings(made.files[1])
    assert settings_inside is not None
    assert (settings_inside.seed, settings_inside.prompt) == (6, "a <red-mug>")
    assert settings_inside.concepts[0]["name"] == "red-mug"

    (refused,) = [a for a in client.generate(ask(tmp_path / "gone"), tmp_path / "out") if isinstance(a, Refused)]
    assert "no base model" in refused.text
    with socket.socket(socket.AF_UNIX) as nonsense:
        nonsense.connect(str(generator_socket(settings.runtime_dir)))
        nonsense.sendall(b"{}\n")
        assert b"not understood" in nonsense.recv(1000)
    assert isinstance(list(client.generate(ask(tiny_model), tmp_path / "out"))[-1], Made)
    assert generator_socket(settings.runtime_dir).stat().st_mode & 0o777 == 0o600
    generator.send_signal(signal.SIGTERM)
    assert generator.wait(PATIENCE_S) == 0
    assert not generator_socket(settings.runtime_dir).exists()


def test_client_that_leaves_frees_the_generator_and_the_next_waits_its_turn(
    generator: subprocess.Popen[bytes], settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    client, leave = GeneratorClient(settings.runtime_dir), threading.Event()
    list(client.generate(ask(tiny_model), tmp_path))  # models are loaded
    much = ask(tiny_model, steps=150, count=4, width=128, height=128)
    endless = client.generate(much, tmp_path / "endless", leaving=leave.is_set)
    assert isinstance(next(endless), Working)
    second = client.generate(ask(tiny_model), tmp_path / "second")
    assert next(second) == Waiting(ahead=1)
    leave.set()
    assert all(isinstance(a, Working) for a in endless)  # who left is refused nothing
    answers = list(second)
    assert isinstance(answers[-1], Made)
    assert all(isinstance(a, Working | Made) for a in answers)
    assert not (tmp_path / "endless").exists()


def test_generator_that_dies_is_said_to_have_died(
    generator: subprocess.Popen[bytes], settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    client = GeneratorClient(settings.runtime_dir)
    answers = client.generate(ask(tiny_model, steps=150, width=256, height=256), tmp_path)
    assert isinstance(next(answers), Working)
    waiting = client.generate(ask(tiny_model), tmp_path)
    assert next(waiting) == Waiting(ahead=1)
    generator.kill()
    generator.wait()
    last = list(answers)[-1]
    assert isinstance(last, Refused)
    assert "started again by itself" in last.text
    last = list(waiting)[-1]  # it was not this request that it died of
    assert isinstance(last, Refused)
    assert "while you waited" in last.text
    (answer,) = client.generate(ask(tiny_model), tmp_path)
    assert isinstance(answer, Refused)
    assert "try again" in answer.text


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command("inference", *arguments)


def test_command_line_makes_a_file_or_a_folder(concepts: Runs, tmp_path: Path) -> None:
    run = concepts["dreambooth-lora"].root
    common = ["--concept", f"{run}=0.8", "--prompt", "a <red-mug>", "--steps", 2, "--seed", 4]
    one = command(*common, "--out", tmp_path / "one.png")
    assert one.returncode == 0, one.stderr
    assert one.stdout.strip() == str(tmp_path / "one.png")
    settings = read_settings(tmp_path / "one.png")
    assert settings is not None
    assert (settings.width, settings.seed, settings.concepts[0]["weight"]) == (64, 4, 0.8)
    several = command(*common, "--count", 2, "--out", tmp_path / "many")
    assert several.returncode == 0, several.stderr
    assert sorted(f.name for f in (tmp_path / "many").iterdir()) == ["4.png", "5.png"]


def test_command_line_computes_with_its_share_of_the_cores(
    concepts: Runs, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a training that takes all cores, too, each would be many times slower."""
    told: list[int] = []
    generate = Engine.generate

    def watched(engine: Engine, request: PictureRequest, *more: Any) -> Result:
        told.append(len(list((settings.runtime_dir / "cores").glob("*.computing"))))
        return generate(engine, request, *more)

    monkeypatch.setattr(Engine, "generate", watched)
    run = concepts["textual-inversion"].root
    words = ["--concept", run, "--prompt", "a <red-mug>", "--steps", 1, "--out", tmp_path / "one.png"]
    assert main([str(word) for word in words]) == 0
    assert told == [1]


def test_command_line_draws_a_grid_as_one_file_or_with_its_pictures(concepts: Runs, tmp_path: Path) -> None:
    methods = ("textual-inversion", "dreambooth")
    common = [word for method in methods for word in ("--concept", concepts[method].root)]
    common += ["--prompt", "a <red-mug>", "--seed", 4, "--across", "steps=1,2"]
    several = command(*common, "--down", "concept=", "--out", tmp_path / "many")
    assert several.returncode == 0, several.stderr
    names = ["grid.png", "1-1.png", "1-2.png", "2-1.png", "2-2.png"]
    assert several.stdout.split() == [str(tmp_path / "many" / name) for name in names]
    settings = read_settings(tmp_path / "many" / "2-2.png")
    assert settings is not None
    assert (settings.steps, [c["alias"] for c in settings.concepts]) == (2, ["red-mug-2"])
    one = command(*common[2:], "--out", tmp_path / "one.png")
    assert one.returncode == 0, one.stderr
    assert one.stdout.strip() == str(tmp_path / "one.png")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--across", "steps=1,many"],
        ["--across", "colour=red"],
        ["--down", "steps=1"],
        ["--concept", "/nowhere"],
        ["--concept", "x=heavy"],
        ["--steps", "0"],
        ["--base", "nothing"],
        ["--width", "65"],
        ["--init-image", "/nowhere.png"],
        ["--out", "/dev/null/pictures"],
    ],
)
def test_command_line_refuses_in_words(wrong: list[str], tmp_path: Path, tiny_model: Path) -> None:
    result = command("--prompt", "x", "--base", tiny_model, "--out", tmp_path / "x.png", *wrong)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_that_is_stopped_says_so_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "model_index.json")  # whoever reads it waits
    arguments = ["-m", "inference", "--base", tmp_path, "--prompt", "a teapot", "--out", tmp_path / "teapot.png"]
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with (tmp_path / "model_index.json").open("w"):  # once it reads
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (3, "Stopped.\n")

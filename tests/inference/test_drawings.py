"""Drawings belong to who asked for them: they go on when nobody looks, and are told to whoever looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from inference.drawings import Drawing, Drawings, End, Stand
from inference.protocol import Refused, Working
from inference.request import PictureRequest
from tests.inference.scripted import Scripted, made
from tests.waiting import PATIENCE_S, wait_until
from trainer.errors import RequestError

REQUEST = PictureRequest(prompt="a red apple", steps=2)


def end_of(drawing: Drawing) -> Stand:
    async def last() -> Stand:
        return [stand async for stand in drawing.follow()][-1]

    return asyncio.run(asyncio.wait_for(last(), PATIENCE_S))


def test_drawing_goes_on_when_its_page_is_closed_and_is_told_to_the_next(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)

    async def look_and_leave() -> Stand:
        async for stand in drawings.begin("anna", [REQUEST], tmp_path).follow():
            if stand.answer is not None:
                return stand
        raise AssertionError("it ended")

    assert asyncio.run(look_and_leave()).answer == Working(done=1, total=2)
    assert drawings.of("ben") is None
    again = drawings.of("anna")
    assert again is not None
    generator.go.set()
    wait_until(lambda: again.is_over, "it is made, though nobody looks")
    assert drawings.of("anna") is again
    end = end_of(again)
    assert (end.end, end.files) == (End.made, (tmp_path / "1.png",))
    assert drawings.of("anna") is None  # told


def test_grid_is_joined_at_the_end_and_says_each_note_once(tmp_path: Path) -> None:
    files = [tmp_path / "1.png", tmp_path / "2.png"]
    generator = Scripted(*(made(tmp_path, file.name, ["The prompt was cut."]) for file in files))
    generator.go.set()
    joined: list[Sequence[Path]] = []

    def join(made: Sequence[Path]) -> Path:
        joined.append(made)
        return tmp_path / "grid.png"

    end = end_of(Drawings(generator).begin("anna", [REQUEST, REQUEST], tmp_path, join=join))
    assert end.files == (tmp_path / "grid.png", *files)
    assert (end.number, end.notes, joined) == (1, ("The prompt was cut.",), [tuple(files)])


def test_refusal_ends_it_with_what_was_made_until_then(tmp_path: Path) -> None:
    generator = Scripted(made(tmp_path), Refused(text="Memory ran out."))
    generator.go.set()
    end = end_of(Drawings(generator).begin("anna", [REQUEST] * 3, tmp_path))
    assert (end.end, end.reason, len(end.files)) == (End.refused, "Memory ran out.", 1)


def test_stop_ends_all_of_an_owner_and_nobody_elses(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)
    mine, theirs = drawings.begin("anna", [REQUEST] * 2, tmp_path), drawings.begin("ben", [REQUEST], tmp_path)
    drawings.adopt("anna", "anna-signed-in")
    drawings.stop("anna-signed-in")
    assert end_of(mine).end is End.stopped
    assert generator.left == 1
    assert not theirs.is_over
    generator.go.set()
    assert end_of(theirs).end is End.made


def test_failure_is_raised_for_whoever_follows(tmp_path: Path) -> None:
    generator, full = Scripted(), OSError("no space left")
    generator.go.set()

    def join(_files: Sequence[Path]) -> Path:
        raise full

    drawings = Drawings(generator)
    with pytest.raises(OSError, match="no space left"):
        end_of(drawings.begin("anna", [REQUEST], tmp_path, join=join))
    assert drawings.of("anna") is None


def test_work_for_nobody_is_given_up_after_a_while(tmp_path: Path) -> None:
    generator = Scripted()
    drawing = Drawings(generator, unseen_s=0.05).begin("anna", [REQUEST] * 2, tmp_path)
    wait_until(lambda: drawing.is_over, "nobody looks")
    assert (drawing.stand.end, generator.left) == (End.stopped, 1)


def test_one_owner_has_few_under_way(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)
    begun = [drawings.begin("anna", [REQUEST], tmp_path) for _ in range(3)]
    with pytest.raises(RequestError, match="3 of your requests are under way"):
        drawings.begin("anna", [REQUEST], tmp_path)
    drawings.begin("ben", [REQUEST], tmp_path)
    drawings.stop("anna")
    wait_until(lambda: all(drawing.is_over for drawing in begun), "they stop")
    drawings.begin("anna", [REQUEST], tmp_path)
    generator.go.set()

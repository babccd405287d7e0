"""Drawings belong to who asked for them: they go on when nobody looks, and are told to whoever looks again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import inference.drawings as drawings_module
from inference.drawings import Drawing, Drawings, End, Limits, Stand
from inference.protocol import Refused, Waiting
from inference.request import PictureRequest
from tests.inference.scripted import MANY, Scripted, made
from tests.waiting import wait_until
from trainer.errors import RequestError

REQUEST = PictureRequest(prompt="a red apple", steps=2)


def end_of(drawing: Drawing) -> Stand:
    wait_until(lambda: drawing.is_over, "it ends")
    return drawing.look()


def listed(folder: Path, files: Sequence[Path]) -> Path:
    """In place of a grid: the names of its pictures that are there."""
    (folder / "grid.png").write_text(" ".join(file.name for file in files if file.is_file()))
    return folder / "grid.png"


def test_drawing_goes_on_when_nobody_looks_and_is_told_to_whoever_does(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)
    drawing = drawings.begin("anna", [REQUEST], tmp_path)
    wait_until(lambda: drawing.look().answer == generator.meanwhile, "it is worked on")
    assert (drawings.to_show("anna"), drawings.to_show("ben")) == (drawing, None)
    generator.answer()
    wait_until(lambda: drawing.is_over, "it is made")
    assert drawings.to_show("anna") is drawing
    assert (drawing.look().end, drawing.look().files) == (End.made, (tmp_path / "1.png",))
    drawing.was_told = True
    assert drawings.to_show("anna") is None


def test_page_is_shown_the_end_of_what_it_showed_and_then_what_is_under_way(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)
    older = drawings.begin("anna", [REQUEST], tmp_path)
    assert drawings.to_show("anna", older.key) is older
    newer = drawings.begin("anna", [REQUEST], tmp_path)
    assert drawings.to_show("anna", older.key) is newer
    newer.stop()
    end_of(newer)
    newer.was_told = True  # on another page
    assert drawings.to_show("anna", newer.key) is newer
    assert drawings.to_show("anna") is older
    assert drawings.is_under_way("anna")
    older.stop()
    assert end_of(older).end is End.stopped
    assert not drawings.is_under_way("anna")


def test_grid_is_joined_at_the_end_and_says_each_note_once(tmp_path: Path) -> None:
    generator = Scripted()
    generator.answers = [made(tmp_path, f"{number}.png", "The prompt was cut.") for number in (1, 2)]
    generator.answer(2)
    end = end_of(Drawings(generator).begin("anna", [REQUEST, REQUEST], tmp_path, join=listed))
    assert [file.name for file in end.files] == ["grid.png", "1.png", "2.png"]
    assert end.files[0].read_text() == "1.png 2.png"
    assert (end.notes, end.seconds) == (("The prompt was cut.",), 2.0)


def test_refusal_ends_it_with_what_was_made_until_then(tmp_path: Path) -> None:
    generator = Scripted()
    generator.answers = [made(tmp_path, "1.png"), Refused(text="Memory ran out.")]
    generator.answer(2)
    end = end_of(Drawings(generator).begin("anna", [REQUEST] * 3, tmp_path))
    assert (end.end, end.reason, len(end.files), generator.asked) == (End.refused, "Memory ran out.", 1, 2)


def test_failure_is_kept_for_whoever_looks(tmp_path: Path) -> None:
    def join(_folder: Path, _files: Sequence[Path]) -> Path:
        raise OSError("no space left")

    generator = Scripted()
    generator.answer()
    end = end_of(Drawings(generator).begin("anna", [REQUEST], tmp_path, join=join))
    assert (end.end, str(end.error), len(end.files)) == (End.failed, "no space left", 1)


def test_stop_ends_all_of_an_owner_and_nobody_elses(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator)
    mine, theirs = drawings.begin("anna", [REQUEST] * 2, tmp_path), drawings.begin("ben", [REQUEST], tmp_path)
    drawings.stop("anna")
    assert end_of(mine).end is End.stopped
    assert generator.left == 1
    assert not theirs.is_over
    generator.answer()
    assert end_of(theirs).end is End.made


def test_who_signs_in_meanwhile_finds_a_whole_grid(tmp_path: Path) -> None:
    generator, browser, person = Scripted(), tmp_path / "browser", tmp_path / "person"
    drawings = Drawings(generator)
    drawing = drawings.begin("browser", [REQUEST] * 3, browser, join=listed)
    generator.answer()
    wait_until(lambda: generator.asked == 2, "the second is asked for, into the browser's folder")
    drawings.adopt("browser", "person", person)
    person.mkdir()
    (browser / "1.png").replace(person / "1.png")
    generator.answer(2)
    assert drawings.to_show("person") is drawing
    end = end_of(drawing)
    assert end.files == tuple(person / name for name in ("grid.png", "1.png", "2.png", "3.png"))
    assert end.files[0].read_text() == "1.png 2.png 3.png"
    assert list(browser.iterdir()) == []


def test_work_for_nobody_is_given_up_after_a_while_and_waiting_is_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(drawings_module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def pass_time(generator: Scripted, seconds: float) -> None:
        """So that it is noticed: what was said before the time passed is heard, and something after it."""
        for forward in (0.0, seconds):
            now[0] += forward
            said = generator.said
            wait_until(lambda said=said: generator.said > said + 1, "it goes on")

    generator = Scripted()
    seen = Drawings(generator, Limits(unseen_s=10)).begin("anna", [REQUEST], tmp_path)
    for _ in range(3):
        pass_time(generator, 8)
        assert seen.look().end is None
    pass_time(generator, 8)
    now[0] += 8
    assert (end_of(seen).end, generator.left) == (End.unseen, 1)

    waiting = Scripted(Waiting(ahead=1))
    drawing = Drawings(waiting, Limits(unseen_s=10)).begin("anna", [REQUEST], tmp_path)
    pass_time(waiting, 100)
    assert not drawing.is_over
    waiting.answer(MANY)
    assert end_of(drawing).end is End.made


def test_one_owner_of_many_has_few_under_way(tmp_path: Path) -> None:
    generator = Scripted()
    drawings = Drawings(generator, Limits(under_way=3))
    begun = [drawings.begin("anna", [REQUEST], tmp_path) for _ in range(3)]
    with pytest.raises(RequestError, match="3 of your requests are under way"):
        drawings.begin("anna", [REQUEST], tmp_path)
    drawings.begin("ben", [REQUEST], tmp_path)
    drawings.stop("anna")
    wait_until(lambda: all(drawing.is_over for drawing in begun), "they stop")
    drawings.begin("anna", [REQUEST], tmp_path)
    generator.answer(MANY)

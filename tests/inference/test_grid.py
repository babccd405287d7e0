"""Grids: what varies from cell to cell, what is refused before anything is drawn, and the picture of a whole grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.__main__ import main
from inference.catalog import open_concept, use_each
from inference.engine import Engine, Result
from inference.grid import Axis, Grid, GridSettings, Varied, build_grid, read_axis
from inference.grid_picture import MAX_CELL_PX, draw_grid, save_grid
from inference.metadata import read_settings, save_picture, settings_of
from inference.request import ConceptUse, PictureRequest
from tests.jobs.finished_run import write_finished_run
from trainer.errors import EXIT_STOPPED, RequestError

APPLE = PictureRequest(prompt="a red apple", seed=5, count=4)


@pytest.fixture
def two_concepts(tmp_path: Path, photo_folder: Path) -> tuple[ConceptUse, ...]:
    """Two of one name, so the second has an alias."""
    runs = [write_finished_run(tmp_path / place, photo_folder) for place in ("one", "other")]
    return use_each([(run.root, weight) for run, weight in zip(runs, (1.0, 0.5), strict=True)])


def grid_of(request: PictureRequest, across: tuple[str, str], down: tuple[str, str] | None = None) -> Grid:
    axes = [read_axis(*side, request) for side in (across, down) if side]
    return build_grid(request, GridSettings(across=axes[0], down=axes[1] if down else None))


def test_two_settings_vary_and_everything_else_stays() -> None:
    grid = grid_of(APPLE, ("guidance", "2, 4.5,8"), ("words", "red, dark green"))
    assert [[(c.guidance, c.prompt) for c in row] for row in grid.rows] == [
        [(2, "a red apple"), (4.5, "a red apple"), (8, "a red apple")],
        [(2, "a dark green apple"), (4.5, "a dark green apple"), (8, "a dark green apple")],
    ]
    assert {(c.seed, c.steps, c.count) for c in grid.cells} == {(5, APPLE.steps, 1)}


def test_sizes_and_whole_prompts_vary(two_concepts: tuple[ConceptUse, ...]) -> None:
    grid = grid_of(APPLE, ("size", "64x128, 128 x 64"), ("negative_prompt", "dark\nblurry, grey"))
    assert [[(c.width, c.height, c.negative_prompt) for c in row] for row in grid.rows] == [
        [(64, 128, "dark"), (128, 64, "dark")],
        [(64, 128, "blurry, grey"), (128, 64, "blurry, grey")],
    ]
    request = PictureRequest(prompt="a <red-mug>", concepts=two_concepts[:1])
    whole = grid_of(request, ("prompt", "a <red-mug> at sea\nmy <red-mug>, blue"))
    assert [c.prompt for c in whole.cells] == ["a <red-mug> at sea", "my <red-mug>, blue"]
    for varied, entered, words in (
        ("size", "large", "not a size"),
        ("size", "63x64", "width"),
        ("prompt", "a <blue-mug>\nx", "<blue-mug> is not among the concepts"),
    ):
        with pytest.raises(RequestError, match=words):
            grid_of(request, (varied, entered))


def test_words_leave_the_names_of_concepts_alone(two_concepts: tuple[ConceptUse, ...]) -> None:
    request = PictureRequest(prompt="a <red-mug> on red, not <red-mug-2>", concepts=two_concepts)
    blue = grid_of(request, ("words", "red, blue")).cells[1]
    assert blue.prompt == "a <red-mug> on blue, not <red-mug-2>"
    other = grid_of(request, ("words", "<red-mug>, <red-mug-2>")).cells[1]
    assert other.prompt == "a <red-mug-2> on red, not <red-mug-2>"


def test_words_are_not_found_inside_other_words() -> None:
    request = PictureRequest(prompt="a bored dog with a (red)1.3 hat, hundreds of flowers")
    changed = grid_of(request, ("words", "red, blue\\1")).cells[1]
    assert changed.prompt == "a bored dog with a (blue\\1)1.3 hat, hundreds of flowers"
    with pytest.raises(RequestError, match="not in the prompt"):
        grid_of(request, ("words", "ore, blue"))


def test_one_side_is_enough_and_lines_may_hold_commas() -> None:
    grid = grid_of(APPLE, ("words", "red apple\nred, ripe apple\n"))
    assert [c.prompt for c in grid.cells] == ["a red apple", "a red, ripe apple"]


def test_checkpoints_of_one_concept_are_those_that_were_kept_and_the_result(
    two_concepts: tuple[ConceptUse, ...],
) -> None:
    first, second = two_concepts
    for use, steps in ((first, (100, 200, 300)), (second, (200, 300, 400))):
        for step in steps:
            open_concept(use.folder).run.checkpoint_folder(step).mkdir(parents=True)
    request = PictureRequest(prompt="a <red-mug>", concepts=(first,))
    everything = grid_of(request, ("checkpoint", ""))
    assert [use.step for cell in everything.cells for use in cell.concepts] == [100, 200, 300, None]
    chosen = grid_of(request, ("checkpoint", "result, 200"), ("weight", "0.5, 1"))
    assert [[(u.step, u.weight) for c in row for u in c.concepts] for row in chosen.rows] == [
        [(None, 0.5), (200, 0.5)],
        [(None, 1), (200, 1)],
    ]
    both = PictureRequest(prompt="a <red-mug>", concepts=two_concepts)
    for sides in ((("concept", ""), ("checkpoint", "")), (("checkpoint", ""), ("concept", ""))):
        grid = grid_of(both, *sides)
        assert {(u.alias, u.step) for c in grid.cells for u in c.concepts} == {
            (alias, step) for alias in ("red-mug", "red-mug-2") for step in (200, 300, None)
        }
    with pytest.raises(RequestError, match="pick it alone"):
        grid_of(both, ("checkpoint", "200"))
    with pytest.raises(RequestError, match=r"no checkpoint 50: it has 100, 200, 300, result"):
        grid_of(request, ("checkpoint", "50"))


def test_result_stands_for_its_own_checkpoint(two_concepts: tuple[ConceptUse, ...]) -> None:
    concept = open_concept(two_concepts[0].folder)
    request = PictureRequest(prompt="a <red-mug>", concepts=two_concepts[:1])
    assert [u.step for c in grid_of(request, ("checkpoint", "")).cells for u in c.concepts] == [None]
    with pytest.raises(RequestError, match="none is kept of it here"):
        grid_of(request, ("checkpoint", "100"))
    concept.run.checkpoint_folder(concept.manifest.steps).mkdir(parents=True)
    assert read_axis("checkpoint", "", request).values == (str(concept.manifest.steps),)


def test_picture_of_a_checkpoint_brings_its_checkpoint_back(two_concepts: tuple[ConceptUse, ...]) -> None:
    request = PictureRequest(prompt="a <red-mug>", concepts=two_concepts[:1])
    described = {"name": "red-mug", "alias": "red-mug", "weight": 1.0, "sha256": "0"}
    assert settings_of(request, 1, [described]).brought_back_by is None
    brought = settings_of(request, 1, [{**described, "step": 100}]).brought_back_by
    assert brought == GridSettings(across=Axis(varied=Varied.checkpoint, values=("100",)))


def test_each_concept_is_drawn_alone_under_the_name_that_the_prompt_gives_to_any(
    two_concepts: tuple[ConceptUse, ...],
) -> None:
    first, second = (str(use.alias) for use in two_concepts)
    request = PictureRequest(prompt=f"a <{first}> at sea", concepts=two_concepts)
    grid = grid_of(request, ("concept", ""))
    assert [(c.prompt, c.concepts) for c in grid.cells] == [
        (f"a <{first}> at sea", two_concepts[:1]),
        (f"a <{second}> at sea", two_concepts[1:]),
    ]
    moved = request.model_copy(update={"base": "/where/it/lies/now"})
    assert {c.base for c in grid_of(moved, ("concept", "")).cells} == {"/where/it/lies/now"}
    named = grid_of(request, ("concept", f"<{second}>"))
    assert [c.concepts for c in named.cells] == [two_concepts[1:]]
    assert [u.weight for c in grid_of(request, ("weight", "0.2, 2")).cells for u in c.concepts] == [0.2, 0.2, 2, 2]


def test_whole_prompts_come_before_the_words_and_the_concept_that_change_in_them(
    two_concepts: tuple[ConceptUse, ...],
) -> None:
    prompts = ("prompt", "a red apple\nred snow, falling")
    grid = grid_of(APPLE, ("words", "red, blue"), prompts)
    assert [[c.prompt for c in row] for row in grid.rows] == [
        ["a red apple", "a blue apple"],
        ["red snow, falling", "blue snow, falling"],
    ]
    request = PictureRequest(prompt="a <red-mug>", concepts=two_concepts)
    grid = grid_of(request, ("concept", ""), ("prompt", "my <red-mug>\nan <red-mug-2>"))
    assert [[c.prompt for c in row] for row in grid.rows] == [
        ["my <red-mug>", "my <red-mug-2>"],
        ["an <red-mug>", "an <red-mug-2>"],
    ]


@pytest.mark.parametrize(
    ("across", "down", "words"),
    [
        (("guidance", " , "), None, "which values of guidance"),
        (("steps", "10, many"), None, "steps"),
        (("steps", "10, 500"), None, "steps"),
        (("scheduler", "DDIM, Heun"), None, "scheduler"),
        (("words", "blue, red"), None, "not in the prompt"),
        (("strength", "0.3, 0.6"), None, "starts from a picture"),
        (("weight", "0.3, 0.6"), None, "needs a concept"),
        (("concept", "cat"), None, "<cat> is not among the concepts"),
        (("concept", ""), None, "which values of concept"),
        (("colour", "red"), None, "cannot vary 'colour'"),
        (("seed", "1, 2"), ("seed", "3, 4"), "two different settings"),
        (("seed", ",".join(map(str, range(13)))), None, "at most 12"),
        (("seed", ",".join(map(str, range(10)))), ("steps", "1,2,3,4,5"), "at most 48"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(
    across: tuple[str, str], down: tuple[str, str] | None, words: str
) -> None:
    with pytest.raises(RequestError, match=words):
        grid_of(APPLE, across, down)


def test_picture_of_a_grid_has_every_cell_in_its_place_and_brings_the_grid_back(tmp_path: Path) -> None:
    grid = grid_of(APPLE, ("guidance", "2, 8"), ("steps", "10, 20"))
    colours = ["red", "green", "blue", "yellow"]
    files = [tmp_path / f"{colour}.png" for colour in colours]
    for colour, file, cell in zip(colours, files, grid.cells, strict=True):
        save_picture(Image.new("RGB", (64, 64), colour), file, settings_of(cell, cell.seed, []))
    save_grid(grid, APPLE, files, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        pixels = sheet.convert("RGB")
    centres = {}
    for colour in colours:
        found = [
            (x, y)
            for x in range(pixels.width)
            for y in range(pixels.height)
            if pixels.getpixel((x, y)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        ]
        assert len(found) == 64 * 64
        centres[colour] = tuple(sum(place) / len(found) for place in zip(*found, strict=True))
    assert centres["red"][1] == centres["green"][1] < centres["blue"][1] == centres["yellow"][1]
    assert centres["red"][0] == centres["blue"][0] < centres["green"][0] == centres["yellow"][0]
    settings = read_settings(tmp_path / "grid.png")
    assert settings is not None
    assert (settings.grid, settings.prompt, settings.seed) == (grid.settings, APPLE.prompt, APPLE.seed)


def test_long_words_and_missing_cells_leave_a_picture() -> None:
    axis = Axis(varied=Varied.words, values=("red", "x" * 300))
    grid = build_grid(APPLE, GridSettings(across=axis))
    sheet = draw_grid(grid, "word " * 200, [Image.new("RGB", (MAX_CELL_PX, 192)), None])
    assert sheet.width < 900
    assert sheet.height > 192


def test_cells_are_made_small_one_by_one(tmp_path: Path) -> None:
    grid = grid_of(APPLE, ("guidance", "2, 8"))
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file, cell in zip(files, grid.cells, strict=True):
        save_picture(Image.new("RGB", (2 * MAX_CELL_PX, MAX_CELL_PX), "red"), file, settings_of(cell, cell.seed, []))
    save_grid(grid, APPLE, files, tmp_path / "grid.png")
    assert red_pixels(tmp_path / "grid.png") == 2 * MAX_CELL_PX * MAX_CELL_PX // 2


def red_pixels(file: Path) -> int:
    with Image.open(file) as picture:
        return int((np.asarray(picture.convert("RGB")) == (255, 0, 0)).all(axis=-1).sum())


def test_command_line_keeps_what_is_drawn_before_something_stops_it(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def generate(_self: Engine, request: PictureRequest, _step_done: object) -> Result:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(request.seed)
        return Result([Image.new("RGB", (64, 64), "red")], [], [])

    monkeypatch.setattr(Engine, "generate", generate)
    words = ["--prompt", "x", "--base", str(tiny_model), "--across", "seed=1,2,3", "--out", str(tmp_path / "g.png")]
    assert main(words) == EXIT_STOPPED
    assert red_pixels(tmp_path / "g.png") == 2 * 64 * 64

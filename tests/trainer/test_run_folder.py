from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pictures import write_photos
from trainer.errors import RecipeError, RequestError
from trainer.photos.intake import take_folder
from trainer.prepare import prepare_run
from trainer.recipe.build import build_recipe
from trainer.run_folder import RunFolder
from trainer.whole_files import write_whole, written_aside

RECIPE = build_recipe(
    {"method": "dreambooth", "name": "mug", "kind": "object", "steps": 5, "learning_rate": 0.1, "resolution_px": 64}
)


def test_recipe_is_kept_as_config_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_recipe(RECIPE)
    assert run.read_recipe() == RECIPE


def test_recipe_of_an_earlier_run_that_mirrors_its_only_variant_is_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.config_file.write_text(json.dumps({**RECIPE.model_dump(mode="json"), "mirror": True}))
    assert run.read_recipe() == RECIPE


def test_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not a run folder"):
        RunFolder(tmp_path).read_recipe()
    RunFolder(tmp_path).config_file.write_text("{")
    with pytest.raises(RequestError, match="damaged"):
        RunFolder(tmp_path).read_recipe()
    with pytest.raises(RequestError, match="not a run folder"):
        RunFolder(RunFolder(tmp_path).config_file).read_recipe()
    RunFolder(tmp_path).config_file.write_text("[1]")
    with pytest.raises(RequestError, match="damaged"):
        RunFolder(tmp_path).read_recipe()
    RunFolder(tmp_path).config_file.write_text('{"method": "dreambooth"}')
    with pytest.raises(RecipeError):
        RunFolder(tmp_path).read_recipe()


@pytest.mark.fault(3)
def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(ZeroDivisionError), written_aside(target) as aside:
        (aside / "half").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with written_aside(target) as aside:
        (aside / "whole").write_text("1")
    with written_aside(target) as aside:
        (aside / "newer").write_text("2")
    assert [f.name for f in target.iterdir()] == ["newer"]
    assert [f.name for f in tmp_path.iterdir()] == ["x"]


@pytest.mark.fault(3)
def test_result_outlives_an_end_between_the_renames_that_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    with written_aside(run.artifact) as aside:
        (aside / "model").write_text("1")
    renames, rename = iter((True, False)), Path.replace

    def replace_once(source: Path, target: Path) -> Path:
        if next(renames):
            return rename(source, target)
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_once)
        with pytest.raises(SystemExit), written_aside(run.artifact):
            pass
    assert not run.artifact.exists()
    run.remove_unfinished()
    assert (run.artifact / "model").read_text() == "1"
    assert [f.name for f in tmp_path.iterdir()] == ["artifact"]


def test_small_file_is_replaced_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "f", "one")
    write_whole(tmp_path / "deep" / "f", "two")
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["f"]
    assert (tmp_path / "deep" / "f").read_text() == "two"


def test_run_is_prepared_whole(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    run, photo_set = prepare_run(tmp_path / "run", RECIPE, lambda folder: take_folder(photos, folder))
    assert len(photo_set.usable) == 3
    assert {f.name for f in run.root.iterdir()} == {"config.json", "photos"}


def test_unusable_photos_leave_nothing_behind(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    with pytest.raises(RequestError, match="At least 3 different photos"):
        prepare_run(tmp_path / "run", RECIPE, lambda folder: take_folder(photos, folder))
    assert {f.name for f in tmp_path.iterdir()} == {"photos"}


def test_run_never_starts_in_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    with pytest.raises(RequestError, match="not empty"):
        prepare_run(tmp_path / "run", RECIPE, lambda folder: take_folder(tmp_path, folder))
    assert (tmp_path / "run" / "mine.txt").read_text() == "precious"

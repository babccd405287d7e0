"""What the command line is asked for, before anything is done: which recipe, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.arguments import train_arguments
from trainer.__main__ import _parser, _requested_recipe, main
from trainer.recipe.config import TrainConfig
from trainer.settings import Settings


def requested(*arguments: object) -> TrainConfig:
    options = _parser().parse_args([str(word) for word in arguments])
    options.settings = Settings()
    return _requested_recipe(options)


def test_commit_and_prediction_in_a_recipe_file_are_of_its_own_base(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "method: dreambooth-lora\nname: mug\nkind: object\nresolution_px: 64\n"
        f"base: {tiny_model}\nbase_revision: abc1234\nbase_prediction: v_prediction\n"
    )
    asked = ["train", "--photos", tmp_path, "--out", tmp_path / "run", "--recipe", file]
    same = requested(*asked, "--base", f" {tiny_model} ")
    assert (same.base_revision, same.base_prediction) == ("abc1234", "v_prediction")
    for another in (["--base", "starter"], ["--set", "base=starter"]):
        recipe = requested(*asked, *another)
        assert (recipe.base_revision, recipe.base_prediction) == (None, None)
    assert requested(*asked, "--base", "starter", "--set", "base_revision=def4567").base_revision == "def4567"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["resume", __file__], "is not a run folder"),
        (["verify", __file__], "is not a run folder"),
        (["resume", "a" * 300], "too long"),
        (["check", "a" * 300], "too long"),
        (["import", "a" * 300, "--name", "mug", "--out", "/nowhere/run"], "neither a file nor a Hub id"),
        (["import", "~there-is-nobody/x", "--name", "mug", "--out", "/nowhere/run"], "neither a file nor a Hub id"),
    ],
)
def test_path_that_cannot_be_meant_is_refused_in_one_line(
    wanted: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(wanted) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("content", ["[]", "{}", '{"task": "dance"}'])
def test_task_file_that_holds_no_task_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(content)
    assert main(["resume", str(tmp_path)]) == 2


@pytest.mark.parametrize("change", [["--out", "/"], ["--photos", "/nowhere"], ["--steps", "-1"]])
def test_base_is_not_downloaded_for_what_cannot_be_done(
    change: list[str], tmp_path: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_arguments: object) -> Path:
        raise AssertionError("downloaded")

    monkeypatch.setattr("trainer.__main__._downloaded", download)
    wanted = train_arguments(photo_folder, Path("somebody/model"), tmp_path / "run", *change)
    assert main([str(word) for word in wanted]) == 2

"""One subject and a few steps through the whole learning benchmark, with real processes on a tiny model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.benchmarks.learning.__main__ import main
from tests.benchmarks.learning.conditions import conditions
from tests.benchmarks.learning.exam import NAME, PLACEHOLDER
from tests.benchmarks.learning.features import square
from tests.benchmarks.learning.files import read_json
from tests.benchmarks.learning.peers import SCRIPTS, train_theirs
from tests.benchmarks.learning.subjects import Subject, write_subject
from tests.benchmarks.learning.training import TrainingFailed, run_timed
from tests.pictures import subject_picture
from trainer.bases import inspect_base
from trainer.recipe.choices import Kind, Method

SCRIPT = """
import argparse, json, pathlib, sys
from torchvision import transforms
from diffusers.utils import is_torchvision_available
folder = next(a for a in sys.argv if a.startswith("--output_dir=")).partition("=")[2]
pathlib.Path(folder).mkdir()
kinds = [transforms.Resize(64, interpolation=transforms.InterpolationMode.BILINEAR), transforms.ToTensor()]
photos = next(a for a in sys.argv if "data_dir=" in a).partition("=")[2]
said = {"flags": sys.argv[1:], "photos": len(list(pathlib.Path(photos).iterdir())), "found": is_torchvision_available()}
pathlib.Path(folder, "said.json").write_text(json.dumps(said))
"""


def write_subjects(folder: Path) -> None:
    for number, name in enumerate(("disc", "other")):
        pictures = [subject_picture(20 * number + i, (512, 512), centre=(0.3 + 0.05 * i, 0.5)) for i in range(6)]
        write_subject(Subject(name, "drawn", Kind.object, "object", folder / name), pictures)


class Colours:
    """Features that need no network: the pictures' own colours, in squares."""

    def __init__(self, _folder: Path) -> None: ...

    def of(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """Vectors of length 1, fp32 [pictures, 3072]."""
        small = [np.asarray(square(picture).resize((32, 32)), np.float32).ravel() for picture in pictures]
        return torch.nn.functional.normalize(torch.from_numpy(np.stack(small)), dim=1)


def run(model: Path, out: Path, *more: str) -> int:
    options = ["run", "--base", str(model), "--out", str(out), "--subjects", "disc", "--workers", "0", "--seeds", "1"]
    options += ["--sampler-steps", "1", "--methods", "textual-inversion", "--sweep", str(out / "none.json")]
    options += ["--measured", str(out / "measured")]
    return main([*options, *more])


def test_a_run_is_measured_reported_and_goes_on_where_it_stopped(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cells", "__main__"):
        monkeypatch.setattr(f"tests.benchmarks.learning.{module}.LiteFeatures", Colours)
    name = f"{inspect_base(tiny_model).identity}-{conditions(1)}"
    folder, measured = tmp_path / name, tmp_path / "measured" / name
    write_subjects(folder / "subjects")
    assert run(tiny_model, tmp_path, "--set", "steps=2") == 0
    (cell,), (file,) = (folder / "cells").iterdir(), measured.iterdir()
    assert file.name == f"{cell.name}.json"
    result = read_json(file)
    assert (result["subject"], result["steps"], result["side"]) == ("disc", 2, "ours")
    assert math.isfinite(result["likeness"])
    assert result["likeness_coarse"] != result["likeness"]
    assert set(result["asked"]) == {"background", "style", "company"}
    assert set(result["said"]) == {"knows_subject", "changed_elsewhere"}
    assert result["drift"] == pytest.approx(0, abs=1e-5)  # textual inversion leaves the base as it is
    assert (cell / "sheet.png").exists()
    assert not (cell / "run").exists()
    report = (folder / "report.md").read_text()
    assert "1 of 1 runs" in report
    assert report.count("| textual-inversion |") == 2
    assert "the base with the class word" in report
    assert "<svg" in (folder / "front-drawn.svg").read_text()

    trained = (cell / "training.log").stat().st_mtime_ns
    file.unlink()  # as if it had ended between drawing and marking
    assert run(tiny_model, tmp_path, "--set", "steps=2") == 0
    again = read_json(file)
    assert (cell / "training.log").stat().st_mtime_ns == trained
    assert again == result


def test_a_training_that_fails_leaves_its_cell_open(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"{inspect_base(tiny_model).identity}-{conditions(1)}"
    write_subjects(folder / "subjects")
    assert run(tiny_model, tmp_path, "--set", "steps=0") == 1
    assert not list((tmp_path / "measured").glob("*/*.json"))
    assert "0 of 1 runs" in (folder / "report.md").read_text()


def test_a_script_of_the_field_gets_our_recipe_and_needs_no_torchvision(tiny_model: Path, tmp_path: Path) -> None:
    write_subjects(tmp_path / "subjects")
    subject = Subject("disc", "drawn", Kind.object, "object", tmp_path / "subjects" / "disc")
    script = tmp_path / "checkout" / SCRIPTS[Method.textual_inversion]
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    (tmp_path / "place").mkdir()
    values = {"steps": 7, "batch_size": 4, "vectors": 3, "learning_rate": 0.02, "schedule": "cosine"}
    values |= {"resolution_px": 64, "weight_decay": 0.0}
    place, checkout = tmp_path / "place", tmp_path / "checkout"
    trained = train_theirs(
        subject, Method.textual_inversion, 5, values, base=tiny_model, place=place, checkout=checkout
    )
    said = json.loads((trained.learnt.folder / "said.json").read_text())
    assert said["photos"] == 12  # three pictures, as often as a batch has places
    assert not said["found"]
    wanted = ["--max_train_steps=7", "--learning_rate=0.02", "--num_vectors=3", "--lr_scheduler=cosine", "--seed=5"]
    assert set(wanted) < set(said["flags"])
    assert f"--placeholder_token={PLACEHOLDER}" in said["flags"]
    assert trained.learnt.words.tokens == (PLACEHOLDER, f"{PLACEHOLDER}_1", f"{PLACEHOLDER}_2")
    assert (trained.steps, trained.learnt.words.name) == (7, NAME)
    assert trained.cpu_seconds > 0


def test_a_process_that_fails_says_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('an unlucky number')"]
    with pytest.raises(TrainingFailed, match="ended with 1: an unlucky number"):
        run_timed(command, tmp_path, {})

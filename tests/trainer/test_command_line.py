"""The command line as a contract: exit codes, one line for a wrong request, JSON for programs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests import ROOT
from tests.command import run_command
from tests.pictures import write_photos
from tests.trainer.arguments import train_arguments
from tests.waiting import PATIENCE_S, wait_until
from trainer import run_in_engine
from trainer.__main__ import main
from trainer.engine.failures import explain
from trainer.events import Finished, read_events
from trainer.photos.intake import PhotoSet, take_folder
from trainer.prepare import prepare_run
from trainer.recipe.build import build_recipe
from trainer.run_folder import RunFolder


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command("trainer", *arguments)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--name", "Red Mug"], "2 to 40 of a-z"),
        (["--base", "nothing-here"], "no base model"),
        (["--set", "stepz=3"], "no such field"),
        (["--set", "steps"], "write field=value"),
        (["--set", "traits=1"], "no such field"),
        (["--kind", "teapot"], "invalid choice"),
        (["--recipe", "/nowhere.yaml"], "cannot be read"),
        (["--steps", "0"], "greater than or equal to 1"),
        (["--wrong"], "unrecognized"),
        (["--set", "class_images_dir=/nowhere"], "not a folder"),
        (["--out", "/proc/run"], "cannot be"),
    ],
)
def test_wrong_request_is_answered_in_one_line_and_writes_nothing(
    change: list[str], said: str, tmp_path: Path, photo_folder: Path, tiny_model: Path
) -> None:
    result = command(*train_arguments(photo_folder, tiny_model, tmp_path / "run", *change))
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_all_wrong_fields_are_named_together(tmp_path: Path, photo_folder: Path, tiny_model: Path) -> None:
    wrong = ["--set", "steps=-1", "--set", "vectors=99", "--set", "warmup_steps=-1"]
    result = command(*train_arguments(photo_folder, tiny_model, tmp_path / "run", *wrong))
    assert result.returncode == 2
    assert all(field in result.stderr for field in ("steps", "vectors", "warmup_steps"))


def test_train_into_a_folder_that_is_not_empty_is_refused(tmp_path: Path, photo_folder: Path, tiny_model: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    result = command(*train_arguments(photo_folder, tiny_model, tmp_path))
    assert result.returncode == 2
    assert "not empty" in result.stderr
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["mine.txt"]


def test_too_few_photos_are_refused_and_nothing_is_written(tmp_path: Path, tiny_model: Path) -> None:
    result = command(*train_arguments(write_photos(tmp_path / "two", 2), tiny_model, tmp_path / "run"))
    assert result.returncode == 2
    assert "At least 3" in result.stderr
    assert not (tmp_path / "run").exists()


def test_trained_run_reports_json_and_verifies_and_resumes_to_done(
    tmp_path: Path, photo_folder: Path, tiny_model: Path
) -> None:
    run = tmp_path / "run"
    trained = command(*train_arguments(photo_folder, tiny_model, run, "--steps", 4, "--json"))
    assert trained.returncode == 0, trained.stderr
    events = [json.loads(line) for line in trained.stdout.splitlines()]
    assert [e["event"] for e in events][-1] == "finished"
    assert all("time" in e for e in events)
    assert [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()] == events

    assert command("verify", run).returncode == 0
    again = command("resume", run)
    assert again.returncode == 0, again.stderr

    embeds = run / "artifact" / "learned_embeds.safetensors"
    embeds.write_bytes(embeds.read_bytes()[:-2])
    spoilt = command("verify", run)
    assert spoilt.returncode == 1
    assert "has changed" in spoilt.stderr.splitlines()[-1]
    repaired = command("resume", run)
    assert repaired.returncode == 0, repaired.stderr
    assert "It is written again." in repaired.stderr + repaired.stdout
    assert command("verify", run).returncode == 0


def test_recipe_file_is_shared_and_flags_win_over_it(tmp_path: Path, photo_folder: Path, tiny_model: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f"method: dreambooth-lora\nname: from-file\nkind: object\nbase: {tiny_model}\nsteps: 2\nrank: 3\n"
        "resolution_px: 64\npreview_every_steps: 0\nlearning_rate: 1e-3\n"
    )
    result = command(
        "train",
        "--photos",
        photo_folder,
        "--recipe",
        tmp_path / "recipe.yaml",
        "--name",
        "from-flag",
        "--out",
        tmp_path / "run",
    )
    assert result.returncode == 0, result.stderr
    recipe = RunFolder(tmp_path / "run").read_recipe()
    assert (recipe.name, recipe.steps, recipe.rank) == ("from-flag", 2, 3)  # type: ignore[union-attr]


@pytest.fixture
def long_run(tmp_path: Path, photo_folder: Path, tiny_model: Path) -> RunFolder:
    recipe = build_recipe(
        {
            "method": "textual-inversion", "name": "mug", "kind": "object", "base": str(tiny_model), "steps": 5000,
            "learning_rate": 0.01, "resolution_px": 64, "preview_every_steps": 0, "checkpoint_every_steps": 0,
            "precision": "fp32",
        }
    )  # fmt: skip
    run, _ = prepare_run(tmp_path / "long", recipe, lambda folder: take_folder(photo_folder, folder))
    return run


def start(run: RunFolder) -> subprocess.Popen[str]:
    """Resume the run and wait until it trains."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "resume", str(run.root)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step"):
            return process
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_stop_on_request_keeps_a_checkpoint_and_exits_3(long_run: RunFolder, number: signal.Signals) -> None:
    process = start(long_run)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert "checkpoint is kept" in errors.splitlines()[-1]
    assert len(list(long_run.checkpoints.iterdir())) == 1


def test_run_that_is_held_by_a_process_is_refused_with_its_pid(long_run: RunFolder) -> None:
    with long_run.locked():
        second = command("resume", long_run.root)
    assert second.returncode == 2
    assert f"pid {os.getpid()}" in second.stderr


@pytest.mark.fault(7)
def test_run_that_another_machine_has_by_now_is_left_alone(long_run: RunFolder) -> None:
    """A machine that slept lost its lock on a network file system, and goes on training when it wakes up."""
    process = start(long_run)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    (long_run.root / ".lock").write_text("1234 another-machine")
    before = long_run.events_file.read_bytes()
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert errors.splitlines()[-1] == "Another machine has this run by now."
    after = long_run.events_file.read_bytes()
    assert after.startswith(before)
    assert len(after[len(before) :].splitlines()) <= 1  # it may have been about to write one
    assert list(long_run.checkpoints.glob("*")) == []
    assert (long_run.root / ".lock").read_text() == "1234 another-machine"


def test_failure_ends_with_cause_and_advice_and_exits_1(tmp_path: Path, photo_folder: Path, tiny_model: Path) -> None:
    (tmp_path / "none").mkdir()
    arguments = train_arguments(photo_folder, tiny_model, tmp_path / "run")
    arguments[arguments.index("textual-inversion")] = "dreambooth"
    result = command(*arguments, "--set", "prior_weight=1", "--set", f"class_images_dir={tmp_path / 'none'}")
    assert result.returncode == 1
    assert "no usable class picture" in result.stderr.splitlines()[-1]
    last = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "failed"
    assert last["advice"]


def test_check_gives_a_verdict_for_every_file_and_the_set(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "p", 3)
    (photos / "bad.jpg").write_text("no photo")
    result = command("check", photos, "--json")
    assert result.returncode == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines[:-1]] == ["bad.jpg", "photo-0.jpg", "photo-1.jpg", "photo-2.jpg"]
    assert lines[0]["verdict"] == "refused"
    assert lines[-1] == {"set": "could-be-better", "reasons": ["1 file was left out."]}
    assert "refused  bad.jpg" in command("check", photos).stdout
    assert command("check", tmp_path / "gone").returncode == 2


@pytest.mark.parametrize("action", ["resume", "verify"])
def test_folder_that_is_no_run_is_refused(tmp_path: Path, action: str) -> None:
    result = command(action, tmp_path)
    assert result.returncode == 2
    assert "not a run folder" in result.stderr
    assert list(tmp_path.glob("*.jsonl")) == []


def test_import_writes_a_run_or_nothing(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04\x95 this is a pickle")
    named = ["--name", "red-mug", "--base", tiny_model, "--out", tmp_path / "run"]
    refused = command("import", tmp_path / "bad.safetensors", *named)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "may run code" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    wide = {"emb_params": {"dtype": "F32", "shape": [1, 768], "data_offsets": [0, 3072]}}
    header = json.dumps(wide).encode()
    (tmp_path / "wide.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(3072))
    refused = command("import", tmp_path / "wide.safetensors", *named)
    assert refused.returncode == 2
    assert "768 numbers wide" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    header = json.dumps({"emb_params": {"dtype": "F32", "shape": [1, 32], "data_offsets": [0, 128]}}).encode()
    (tmp_path / "good.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(128))
    taken = command("import", tmp_path / "good.safetensors", *named, "--json")
    assert taken.returncode == 0, taken.stderr
    events = [json.loads(line)["event"] for line in taken.stdout.splitlines()]
    assert events[-1] == "finished"
    assert command("verify", tmp_path / "run").returncode == 0
    assert command("resume", tmp_path / "run").returncode == 0
    assert command("extract", tmp_path / "run", "--rank", 4, "--out", tmp_path / "lora").returncode == 2
    assert not (tmp_path / "lora").exists()


def test_stopped_import_exits_3_at_once(tiny_model: Path, tmp_path: Path) -> None:
    header = json.dumps({"emb_params": {"dtype": "F32", "shape": [1, 32], "data_offsets": [0, 128]}}).encode()
    (tmp_path / "good.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(128))
    named = ["--name", "red-mug", "--base", tiny_model, "--out", tmp_path / "run"]
    program = [sys.executable, "-m", "trainer", "import", tmp_path / "good.safetensors", *named]
    process = subprocess.Popen(program, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until((tmp_path / "run" / ".lock").exists)
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert errors.splitlines() == ["Stopped; nothing was taken in."]
    assert not (tmp_path / "run" / "artifact").exists()


def test_import_that_was_ended_right_after_its_result_was_written_is_completed_by_the_next_start(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    save_file({"emb_params": torch.randn(1, 32)}, tmp_path / "good.safetensors")
    run = RunFolder(tmp_path / "run")
    named = ["--name", "red-mug", "--base", str(tiny_model), "--out", str(run.root)]
    with monkeypatch.context() as at_the_end:
        at_the_end.setattr("trainer.engine.imports.run._conclude", end)
        assert main(["import", str(tmp_path / "good.safetensors"), *named]) == 3
    assert capsys.readouterr().err == "Stopped; it was taken in already, and resume completes it.\n"
    assert main(["resume", str(run.root)]) == 0
    with Image.open(run.preview_file(0, 0)) as picture:
        assert picture.size == (64, 64)
    assert not run.source.exists()
    assert isinstance(list(read_events(run.events_file))[-1], Finished)


def test_stop_while_photos_are_taken_in_leaves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.effect_noise((2500, 2500), 60).save(photos / "0.png", compress_level=1)
    for number in range(1, 12):
        shutil.copy(photos / "0.png", photos / f"{number}.png")
    program = [sys.executable, "-m", "trainer", *map(str, train_arguments(photos, tiny_model, tmp_path / "run"))]
    process = subprocess.Popen(program, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: any(tmp_path.glob(".run.*/photos/*.jpg")))
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert errors.splitlines() == ["Stopped; nothing was begun."]
    assert list(tmp_path.glob("*run*")) == []


@pytest.mark.fault(17)
def test_disk_that_is_full_while_photos_are_taken_in_is_said_in_words(
    tmp_path: Path,
    photo_folder: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_photos: Path, _folder: Path) -> PhotoSet:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trainer.__main__.take_folder", full)
    assert main([str(word) for word in train_arguments(photo_folder, tiny_model, tmp_path / "run")]) == 1
    assert capsys.readouterr().err.startswith("The disk is full. Free some space")
    assert list(tmp_path.glob("*run*")) == []


def test_precision_that_the_device_lacks_is_refused_before_the_base_comes_and_nothing_stays(
    tmp_path: Path,
    photo_folder: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("trainer.engine.device.gpu_trouble", lambda: "")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("trainer.engine.run.bring_base", lambda *_: pytest.fail("the base was brought"))
    arguments = train_arguments(photo_folder, tiny_model, tmp_path / "run", "--set", "precision=fp16")
    assert main([str(word) for word in arguments]) == 2
    assert "precision: fp16 does not train on a CPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(17)
def test_cause_is_said_where_even_the_event_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    full = OSError(errno.ENOSPC, "No space left on device")
    emit = run_in_engine._emitter(RunFolder(tmp_path), as_json=False)
    assert run_in_engine._failed(full, explain(full), emit) == 1
    assert capsys.readouterr().err.startswith("The disk is full.")

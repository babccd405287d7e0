"""A GPU that the driver reports and PyTorch cannot use: a driver that is played by a script, and the real PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.supervisor.gpu_watch import GpuWatch, gpu_trouble
from tests.jobs.gpu_driver import REPORTS, Driver
from trainer.__main__ import main
from trainer.errors import EXIT_FAILED
from trainer.machine.devices import find_devices

WITHOUT_CUDA = "PyTorch cannot use GPU 0 (NVIDIA H200): this PyTorch was built without CUDA."


@pytest.mark.fault(56, 57)
def test_gpu_that_cannot_be_used_is_looked_at_again_until_it_can(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(REPORTS)
    (gpu,) = find_devices()
    watch = GpuWatch(tmp_path, gpu, dict(os.environ))
    assert not watch.check()
    assert gpu_trouble(tmp_path, [gpu]) == [WITHOUT_CUDA]
    driver("")
    assert not watch.check()
    assert gpu_trouble(tmp_path, [gpu]) == ["GPU 0 (NVIDIA H200) is gone: the driver does not report it."]

    monkeypatch.setattr(watch, "_trouble", lambda: "")  # no GPU can be repaired here
    assert watch.check()
    assert gpu_trouble(tmp_path, [gpu]) == []

    monkeypatch.undo()
    driver("")
    assert watch.check()  # all was well the last time
    watch.doubt()
    assert not watch.check()


@pytest.mark.fault(57)
def test_training_by_hand_does_not_fall_back_to_the_processor_in_silence(
    driver: Driver, photo_folder: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver(REPORTS)
    words = ["train", "--photos", photo_folder, "--method", "textual-inversion", "--name", "mug", "--kind", "object"]
    words += ["--base", tiny_model, "--out", tmp_path / "run", "--steps", "2"]
    assert main([*map(str, words)]) == EXIT_FAILED
    said = capsys.readouterr().err
    assert WITHOUT_CUDA in said
    assert "CUDA_VISIBLE_DEVICES" in said

"""Whose waiting jobs a supervisor may take: of those who will not come back, and of nobody else."""

from __future__ import annotations

from pathlib import Path

from jobs.queueing.executors import HUGGING_FACE, executor_id, gone_executors, lock_file
from trainer.machine.locks import hold_lock


def test_name_is_the_same_after_a_restart_and_another_for_another_device(tmp_path: Path) -> None:
    assert executor_id(tmp_path, "cpu") == executor_id(tmp_path, "cpu") != executor_id(tmp_path, "gpu-1f2e")


def test_who_follows_jobs_at_hugging_face_has_one_name_on_every_disk(tmp_path: Path) -> None:
    assert executor_id(tmp_path / "old", HUGGING_FACE) == executor_id(tmp_path / "new", HUGGING_FACE)
    assert gone_executors(tmp_path / "old", []) == []


def test_only_a_supervisor_that_is_not_alive_and_not_served_is_gone(tmp_path: Path) -> None:
    names = {key: executor_id(tmp_path, key) for key in ("served", "alive", "untold", "gone", "never-ran")}
    lock_file(tmp_path, "untold").mkdir()  # cannot be opened, so it tells nothing
    lock_file(tmp_path, "gone").touch()
    with hold_lock(lock_file(tmp_path, "alive"), what="the device"):
        assert set(gone_executors(tmp_path, ["served"])) == {names["gone"], names["never-ran"]}

"""Processes that share a machine: cores, leases, stop signals, children that die with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from tests import ROOT
from tests.waiting import PATIENCE_S, has_ended, wait_until
from trainer.machine import devices
from trainer.machine.cores import CoreShare
from trainer.machine.devices import Device, cpu, find_devices, only
from trainer.machine.gpu_check import gpu_trouble
from trainer.machine.lease import DeviceLease
from trainer.machine.process import KEEP_SIGNAL, StopKind, StopSignal, spawn

GPU = Device(0, "a GPU")
ENVIRONMENT = dict(os.environ)


def is_ready(log: Path) -> bool:
    return log.exists() and "ready" in log.read_text()


def other_computing(folder: Path) -> subprocess.Popen[str]:
    program = (
        "import sys; from pathlib import Path; from trainer.machine.cores import CoreShare\n"
        "with CoreShare(Path(sys.argv[1]), 8).computing(): print('computing', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "computing\n"
    return child


def test_cores_are_shared_fairly_and_taken_back(tmp_path: Path) -> None:
    share = CoreShare(tmp_path, 4)
    with share.computing():
        assert share.threads() == 4
        child = other_computing(tmp_path)
        wait_until(lambda: share.threads() == 2)
        child.kill()  # even when the other was killed and left its file behind
        child.communicate()
        wait_until(lambda: share.threads() == 4)
    assert list(tmp_path.iterdir()) == []


def test_there_is_always_one_thread(tmp_path: Path) -> None:
    share = CoreShare(tmp_path, 1)
    child = other_computing(tmp_path)
    with share.computing():
        assert share.threads() == 1
    child.communicate()


def test_training_takes_the_gpu_and_generating_gives_it_up(tmp_path: Path) -> None:
    lease = DeviceLease(tmp_path, GPU)
    order: list[str] = []
    seen = threading.Event()
    with lease.for_generating() as held:
        assert held

        def train() -> None:
            with DeviceLease(tmp_path, GPU).for_training() as got:
                order.append(f"training {got}")
                seen.wait(PATIENCE_S)

        thread = threading.Thread(target=train)
        thread.start()
        wait_until(lease.training_wants_it)
        order.append("generating ends")
    wait_until(lambda: len(order) == 2)
    with lease.for_generating() as held:
        assert not held  # training has it
    seen.set()
    thread.join()
    assert order == ["generating ends", "training True"]
    with lease.for_generating() as held:
        assert held


def test_waiting_for_the_gpu_can_be_given_up(tmp_path: Path) -> None:
    lease = DeviceLease(tmp_path, GPU)
    with lease.for_generating(), DeviceLease(tmp_path, GPU).for_training(lambda: True) as held:
        assert not held


def test_cpu_needs_no_lease(tmp_path: Path) -> None:
    lease = DeviceLease(tmp_path, cpu())
    with lease.for_training() as training, lease.for_generating() as generating:
        assert training
        assert generating
    assert not lease.training_wants_it()


def test_machine_without_gpu_has_its_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no driver's program is found there
    assert find_devices() == [cpu()]
    assert (cpu().key, cpu().index) == ("cpu", None)


@pytest.mark.parametrize(
    ("visible", "keys"),
    [
        (None, ["gpu-0", "gpu-1"]),
        ("1", ["gpu-1"]),
        ("1,0", ["gpu-0", "gpu-1"]),
        ("GPU-bbbb", ["gpu-1"]),
        ("", ["cpu"]),
        ("-1", ["cpu"]),
    ],
)
def test_only_the_gpus_that_may_be_used_are(
    visible: str | None, keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    said = ["0, GPU-aaaa-1, NVIDIA T4", "1, GPU-bbbb-2, NVIDIA L4", "No devices were found"]
    driver.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said))
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = find_devices(visible)
    assert [device.key for device in found] == keys
    assert only(found[-1]) == (
        {} if keys == ["cpu"] else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    )


@pytest.mark.fault(56)
def test_gpu_whose_driver_does_not_answer_is_one_in_trouble_and_no_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    looked = partial(devices._silent_gpus, tmp_path, tmp_path / "bus")
    monkeypatch.setattr(devices, "_silent_gpus", looked)
    assert [device.key for device in find_devices()] == ["cpu"]  # the program is there, and no GPU
    for slot, vendor, kind in [("1", "0x10de", "0x030200"), ("2", "0x10de", "0x040300"), ("3", "0x8086", "0x030000")]:
        (tmp_path / "bus" / slot).mkdir(parents=True)
        (tmp_path / "bus" / slot / "vendor").write_text(f"{vendor}\n")
        (tmp_path / "bus" / slot / "class").write_text(f"{kind}\n")
    assert [device.key for device in find_devices()] == ["gpu-0"]  # the driver is not in the kernel
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert [device.key for device in find_devices()] == ["gpu-0", "gpu-1"]
    assert [device.key for device in find_devices("GPU-bbbb")] == ["gpu-0", "gpu-1"]
    assert [device.key for device in find_devices("1")] == ["gpu-1"]
    assert [device.key for device in find_devices("")] == ["cpu"]
    if not torch.cuda.is_available():
        assert gpu_trouble().startswith("PyTorch cannot use GPU 0 (NVIDIA GPU): its driver does not answer.")


def test_stop_signals_differ_and_the_urgent_one_wins() -> None:
    stop = StopSignal()
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, KEEP_SIGNAL)}
    try:
        stop.install()
        os.kill(os.getpid(), KEEP_SIGNAL)
        wait_until(lambda: stop.kind is StopKind.keep)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: stop.kind is StopKind.checkpoint)
        os.kill(os.getpid(), KEEP_SIGNAL)
        time.sleep(0.1)
        assert stop.kind is StopKind.checkpoint
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments for `python -m` of a module that watches its parent and ignores SIGTERM if told to."""
    (tmp_path / "sleeper.py").write_text(
        "import signal, sys, time\n"
        "from trainer.machine.process import stop_when_parent_dies\n"
        "if 'deaf' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "stop_when_parent_dies()\n"
        "print('ready', flush=True)\n"
        "time.sleep(120)\n"
    )
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{ROOT}")
    return ["sleeper"]


def test_child_ends_on_request_and_its_output_is_kept(tmp_path: Path, sleeper: list[str]) -> None:
    child = spawn(sleeper, environment=ENVIRONMENT, log=tmp_path / "log.txt")
    wait_until(lambda: is_ready(tmp_path / "log.txt"))
    assert child.exit_code is None
    assert child.end(grace_s=10) == -signal.SIGTERM


def test_stop_that_comes_while_a_child_starts_waits_until_it_can_be_taken(tmp_path: Path, sleeper: list[str]) -> None:
    program = (
        "import time\nfrom trainer.machine.process import StopSignal\n"
        "StopSignal().install(at_once=True)\ntime.sleep(0.5)\n"  # as the command line does, before there is a run
        "stop = StopSignal()\nstop.install()\nprint(stop.kind, flush=True)\n"
    )
    (tmp_path / "starter.py").write_text(program)
    child = spawn(["starter"], environment=ENVIRONMENT, log=tmp_path / "log.txt")
    child.signal(KEEP_SIGNAL)
    assert child.wait(PATIENCE_S) == 0
    assert (tmp_path / "log.txt").read_text() == "keep\n"


@pytest.mark.fault(14)
def test_child_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path, sleeper: list[str]) -> None:
    child = spawn([*sleeper, "deaf"], environment=ENVIRONMENT, log=tmp_path / "log.txt")
    wait_until(lambda: is_ready(tmp_path / "log.txt"))
    assert child.end(grace_s=0.5) == -signal.SIGKILL


def test_child_dies_with_a_parent_that_was_killed(tmp_path: Path, sleeper: list[str]) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from trainer.machine.process import spawn\n"
        "print(spawn(['sleeper'], environment=dict(os.environ), log=Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log.txt")], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until(lambda: is_ready(tmp_path / "log.txt"))
    parent.kill()
    parent.communicate()
    wait_until(lambda: has_ended(pid))

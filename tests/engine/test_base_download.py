"""A base on the Hub: megabytes are told, a broken download goes on, and two jobs fetch it once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from tests import ROOT
from tests.engine.conftest import Prepare, StopAt, go_on
from tests.hub.accounts import ALICE
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.tiny_models import build_tiny_xl_model
from tests.waiting import wait_until
from trainer.artifact import read_manifest
from trainer.bases import find_base, inspect_base
from trainer.engine.base import hub_download, hub_patience
from trainer.engine.base.files import base_folder
from trainer.errors import EXIT_FAILED, BaseModelError, TrainingError, TrainingStopped
from trainer.events import Phase, PhaseChanged, Warned
from trainer.run_folder import RunFolder

NAME = "alice/model"
HANG_S = 60.0
WEIGHTS = ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors"]


@pytest.fixture
def published(
    client: Callable[[str | None], HfApi], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The tiny model as a public repository; its files count as large, and its kilobytes as megabytes."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(hub_download, "_LARGE", 1)
    monkeypatch.setattr(hub_download, "MB", 1000)
    monkeypatch.setattr(hub_download, "_POLL_S", 0.01)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    api = client(ALICE)
    api.create_repo(NAME)
    return api.upload_folder(repo_id=NAME, folder_path=tiny_model).oid


def fetched(hub: LocalHub) -> Counter[str]:
    """How often each large file was asked for."""
    return Counter(r.path for r in hub.requests() if r.method == "GET" and r.path.startswith("/storage"))


def assert_same(folder: Path, tiny_model: Path) -> None:
    for name in WEIGHTS:
        assert (folder / name).read_bytes() == (tiny_model / name).read_bytes()
    assert inspect_base(folder).text_width == 32


def part_files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "hf").rglob("*.studio-part"))


def test_job_tells_megabytes_while_it_prepares(
    hub: LocalHub, published: str, prepared: Callable[..., RunFolder], cache: Path, tiny_model: Path
) -> None:
    run = prepared(Path(NAME), "textual-inversion", steps=1, preview_every_steps=0)
    events = go_on(run, cache)
    told = [e for e in events if isinstance(e, PhaseChanged) and e.phase is Phase.prepare and e.unit == "MB"]
    total = sum(f.stat().st_size for f in tiny_model.rglob("*") if f.is_file()) // 1000
    assert told[-1].done == told[-1].total
    assert told[-1].total == pytest.approx(total, rel=0.02)
    assert [e.done for e in told] == sorted(e.done or 0 for e in told)
    assert read_manifest(run.artifact).base.revision == published


@pytest.mark.fault(58)
def test_broken_connection_is_taken_up_where_it_broke(
    hub: LocalHub, published: str, tiny_model: Path, cache: Path
) -> None:
    hub.order_fault("GET /storage", times=2, cut_response_after=30_000)
    assert_same(base_folder(find_base(NAME), cache), tiny_model)
    assert 206 in {r.status for r in hub.requests() if r.path.startswith("/storage")}


@pytest.mark.fault(58)
def test_download_of_a_killed_process_is_taken_up_by_the_next(
    hub: LocalHub, published: str, tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    hub.order_fault("GET /storage", times=FOREVER, cut_response_after=30_000)
    program = (
        "from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = 1000\n"
        "from trainer.engine.base import hub_download; hub_download._LARGE = 1\n"
        "from trainer.engine.base.files import base_folder; from trainer.bases import find_base\n"
        "from pathlib import Path\n"
        f"base_folder(find_base({NAME!r}), Path({str(cache)!r}))"
    )
    environment = {**os.environ, **hub.environment(tmp_path / "hf")}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(part.stat().st_size >= 16_000 for part in part_files(tmp_path)), "half a file is here")
    process.send_signal(signal.SIGKILL)
    process.wait()
    (half,) = [part for part in part_files(tmp_path) if part.stat().st_size >= 16_000]
    hub.clear_faults()
    before = len(hub.requests())
    assert_same(base_folder(find_base(NAME), cache), tiny_model)
    of_half = [r for r in hub.requests()[before:] if half.name.split(".")[0] in r.path]
    assert [r.status for r in of_half] == [206]


def test_two_jobs_fetch_a_base_once(hub: LocalHub, published: str, tiny_model: Path, cache: Path) -> None:
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(base_folder(find_base(NAME, published), cache)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders[0] == folders[1]
    assert_same(folders[0], tiny_model)
    assert set(fetched(hub).values()) == {1}


def test_megabytes_are_told_while_a_part_becomes_whole(tmp_path: Path) -> None:
    listing = hub_download.Listing(NAME, "0" * 40, (hub_download.RemoteFile("weights.safetensors", 5, "a" * 64),))
    fetching = hub_download._Fetching(listing, list(listing.files), tmp_path)
    whole = tmp_path / "models--alice--model" / "blobs" / ("a" * 64)
    part = whole.with_name(f"{whole.name}.studio-part")
    whole.parent.mkdir(parents=True)
    ended = threading.Event()

    def fetch_again_and_again() -> None:
        while not ended.is_set():
            part.write_bytes(b"bytes")
            part.replace(whole)
            whole.unlink()

    thread = threading.Thread(target=fetch_again_and_again)
    thread.start()
    try:
        told = {fetching.bytes_here() for _ in range(20_000)}
    finally:
        ended.set()
        thread.join()
    assert 5 in told


@pytest.mark.fault(58)
def test_damaged_half_is_fetched_anew(
    hub: LocalHub, published: str, tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    base_folder(find_base(NAME), cache)
    blobs = next((tmp_path / "hf").rglob("blobs"))
    weights = max(blobs.iterdir(), key=lambda f: f.stat().st_size)
    weights.rename(weights.with_name(f"{weights.name}.studio-part"))
    part = weights.with_name(f"{weights.name}.studio-part")
    part.write_bytes(bytes(part.stat().st_size))
    shutil.rmtree(blobs.parent / "snapshots")
    assert_same(base_folder(find_base(NAME), cache), tiny_model)


@pytest.mark.fault(58)
def test_line_that_breaks_again_and_again_is_put_up_with_while_bytes_come(
    hub: LocalHub, published: str, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub.order_fault("GET /storage", times=2 * hub_download.TRIES, cut_response_after=5000)
    assert_same(base_folder(find_base(NAME), cache), tiny_model)


@pytest.mark.fault(36)
def test_what_is_here_needs_no_hub(hub: LocalHub, published: str, tiny_model: Path, cache: Path) -> None:
    base_folder(find_base(NAME), cache)
    asked = len(hub.requests())
    assert_same(base_folder(find_base(NAME, published), cache), tiny_model)
    assert [r.line for r in hub.requests()[asked:]] == []
    hub.order_fault(".*", times=FOREVER, status=503)
    assert_same(base_folder(find_base(NAME), cache), tiny_model)


def test_hub_that_is_away_is_said_and_what_is_here_stays(
    hub: LocalHub, published: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    hub.order_fault("GET /storage", times=1, cut_response_after=10_000)
    hub.order_fault("GET /storage", times=FOREVER, status=500)
    with pytest.raises(TrainingError, match=r"it answered 500\. What is here so far is kept"):
        base_folder(find_base(NAME), cache)
    assert [p.stat().st_size for p in part_files(tmp_path)] == [10_000]
    with pytest.raises(BaseModelError, match="no model alice/nothing"):
        base_folder(find_base("alice/nothing"), cache)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # of the client, too
    monkeypatch.setattr(hub_patience, "_PAUSE_S", 0.01)


@pytest.mark.fault(26, 36)
@pytest.mark.usefixtures("short_pauses")
def test_run_waits_for_a_hub_that_is_away_and_says_so_once(
    hub: LocalHub, published: str, prepared: Prepare, cache: Path
) -> None:
    hub.order_fault("GET /api/models", times=2, status=503)
    hub.order_fault("GET /storage", times=3 * hub_download.TRIES, drop=True)
    run = prepared(Path(NAME), "textual-inversion", steps=1)
    events = go_on(run, cache)
    assert [e.text for e in events if isinstance(e, Warned) and "Hub" in e.text] == [
        "The Hub is away (it answered 503). It is asked again until it is back, for 30 min 00 s at most."
    ]
    assert read_manifest(run.artifact).base.revision == published


@pytest.mark.fault(26)
@pytest.mark.usefixtures("short_pauses")
def test_run_whose_patience_ends_has_failed_and_can_be_resumed(
    hub: LocalHub, published: str, prepared: Prepare, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_patience, "PATIENCE_S", 0.1)
    hub.order_fault("GET /api/models", times=FOREVER, status=503)
    run = prepared(Path(NAME), "textual-inversion", steps=1)
    with pytest.raises(TrainingError, match=r"it answered 503\. What is here so far is kept") as failed:
        go_on(run, cache)
    assert failed.value.exit_code == EXIT_FAILED
    hub.clear_faults()
    go_on(run, cache)
    assert run.artifact.is_dir()


@pytest.mark.parametrize("fault", [{"status": 503}, {"hang_s": HANG_S}])
def test_stop_is_heard_at_once_while_the_hub_is_away(
    hub: LocalHub, published: str, prepared: Prepare, cache: Path, fault: dict[str, Any]
) -> None:
    hub.order_fault("GET /api/models", times=FOREVER, **fault)
    run = prepared(Path(NAME), "textual-inversion", steps=1)
    began = time.monotonic()
    with pytest.raises(TrainingStopped):
        go_on(run, cache, StopAt(3))
    assert time.monotonic() - began < HANG_S


def test_stop_is_heard_while_it_downloads(
    hub: LocalHub, published: str, prepared: Callable[..., RunFolder], cache: Path
) -> None:
    hub.order_fault("GET /storage", times=FOREVER, hang_s=5)
    run = prepared(Path(NAME), "textual-inversion", steps=1)
    with pytest.raises(TrainingStopped):
        go_on(run, cache, StopAt(1))


def test_model_whose_second_tokenizer_is_missing_is_not_whole(
    client: Callable[[str | None], HfApi], published: str, tmp_path: Path, cache: Path
) -> None:
    xl = build_tiny_xl_model(tmp_path / "xl")
    commit = client(ALICE).upload_folder(repo_id=NAME, folder_path=xl).oid
    folder = base_folder(find_base(NAME, commit), cache)
    for file in ("tokenizer_2/vocab.json", "text_encoder_2/config.json"):
        (folder / file).unlink()
        assert base_folder(find_base(NAME, commit), cache) == folder
        assert (folder / file).is_file()

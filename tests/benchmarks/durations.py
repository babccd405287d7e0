"""How long a person waits: for the page, for the embedded example, for a concept by command line."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from jobs.example import find_examples
from jobs.open import open_service
from jobs.record.state import JobState
from tests import ROOT
from tests.app_process import App
from trainer.settings import Settings
from ui.owners import SINGLE_OWNER


def measure_start(times: int = 5) -> None:
    """Seconds from `python app.py` to the page's first answer; the first start of all is not counted."""
    seconds = []
    for _ in range(times + 1):
        with tempfile.TemporaryDirectory() as folder:
            app = App(Path(folder), STUDIO_EXAMPLE="0")
            began = time.monotonic()
            app.start()
            urllib.request.urlopen(app.url).read()
            seconds.append(time.monotonic() - began)
            app.stop()
    print(f"page answers after {statistics.median(seconds[1:]):.1f} s (median of {times})")


def measure_example() -> None:
    """Seconds from `python app.py` over an empty data root to the embedded example in the Try it page."""
    with tempfile.TemporaryDirectory() as folder:
        app = App(Path(folder))
        began = time.monotonic()
        app.start()
        service = open_service(Settings(home=Path(folder)))
        while not any(view.job.state is JobState.finished for view in service.views(SINGLE_OWNER)):
            time.sleep(0.5)
        print(f"embedded example ready after {time.monotonic() - began:.0f} s")
        service.close()
        app.stop()


def measure_methods(methods: list[str]) -> None:
    """Seconds from photos by way of a verified artifact to the first picture, by command line."""
    example = find_examples()[0]
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            began = time.monotonic()
            train(method, example.folder, run, example.name, example.kind, example.class_word)
            trained = time.monotonic()
            picture = Path(folder) / "first.png"
            prompt = f"a photo of <{example.name}>"
            _run("inference", "--concept", run, "--prompt", prompt, "--seed", 1, "--out", picture)
            done = time.monotonic()
            print(f"{method}: verified after {trained - began:.0f} s, first picture after {done - began:.0f} s")


def train(method: str, photos: Path, run: Path, name: str, kind: str, class_word: str) -> float:
    """Train on the starter by command line; returns the run's steps per second."""
    arguments = ["--photos", photos, "--method", method, "--name", name, "--kind", kind, "--out", run]
    _run("trainer", "train", *arguments, "--class-word", class_word, "--base", "starter")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [e["steps_per_second"] for e in events if e["event"] == "step"][-1]


def _run(module: str, *arguments: object) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

"""What every test gets: one thread, an environment of its own, and a data root that is its alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app_process import App
from trainer.machine.process import KEEP_SIGNAL

pytest_plugins = ["tests.hub.fixtures"]
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported anywhere: two processes with two threads each crawl
_FOREIGN = ("STUDIO_", "HF_", "HUGGING", "SPACE_", "GRADIO_", "OAUTH_", "SYSTEM")
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "DO_NOT_TRACK": "1",
}
for _name in [name for name in os.environ if name.startswith(_FOREIGN)]:
    del os.environ[_name]
os.environ.update(_OFFLINE)


@pytest.fixture(autouse=True)
def _own_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A command that runs in this process takes over its signals; processes forked by later tests would heed none."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, KEEP_SIGNAL)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny noise-predicting base model, built once a session."""
    from tests.tiny_models import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_v_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model that predicts v, stored in fp16 as artifacts are."""
    from tests.tiny_models import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("tiny-v") / "model", prediction="v_prediction", half=True)


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five different, sharp, ordinary photos."""
    from tests.pictures import write_photos

    return write_photos(tmp_path_factory.mktemp("photos"), count=5)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Makes apps that are stopped at the end."""
    made: list[App] = []

    def make(name: str = "home", **options: Any) -> App:
        made.append(App(tmp_path / name, **options))
        return made[-1]

    yield make
    for app in made:
        app.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the apps that were running then wrote last."""
    report = yield
    if report.failed:
        report.sections.extend((f"log of the app over {app.home}", app.log.read_text()[-5000:]) for app in App.running)
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole apps, browsers and other processes first: they take longest, and nobody should wait for the last alone."""
    items.sort(key=lambda item: not _starts_processes(item))


def _starts_processes(item: pytest.Item) -> bool:
    makers = {"app", "chromium"}
    names = vars(getattr(item, "module", None) or object)
    return (
        not makers.isdisjoint(getattr(item, "fixturenames", ()))
        or "subprocess" in names
        or any(getattr(value, "__module__", None) == "tests.jobs.processes" for value in names.values())
    )

"""Who is there, who is gone for good, and which machine works in another folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from jobs.queueing import fleet
from jobs.queueing.executors import executor_id, lock_file
from jobs.queueing.fleet import Fleet, RollCall, ServedDevice, SupervisorStore
from jobs.record.store import open_engine
from trainer.errors import RequestError
from trainer.machine.devices import Device, cpu
from trainer.machine.locks import hold_lock
from trainer.settings import Settings

SERVED = ServedDevice("gpu-0-1", "training", "A GPU", is_gpu=True, host="one")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> SupervisorStore:
    return SupervisorStore(engine)


@pytest.fixture
def beat(engine: sa.Engine, store: SupervisorStore) -> Callable[[str, float], None]:
    """A sign of life of a supervisor, as the database's clock would show it after so many seconds."""

    def call(executor: str, at_s: float) -> None:
        store.beat(replace(SERVED, executor=executor))
        statement = "UPDATE supervisors SET seen = datetime('now', :later) WHERE executor = :executor"
        with engine.begin() as connection:
            connection.execute(sa.text(statement), {"later": f"{at_s} seconds", "executor": executor})

    return call


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    clock = SimpleNamespace(at_s=1000.0, monotonic=lambda: clock.at_s)
    monkeypatch.setattr(fleet, "time", clock)

    def call(seconds: float) -> None:
        clock.at_s += seconds

    return call


def test_only_who_gives_no_sign_for_two_minutes_is_gone(
    store: SupervisorStore, beat: Callable[[str, float], None], wait: Callable[[float], None], tmp_path: Path
) -> None:
    roll = RollCall(store, tmp_path)
    for minute in range(3):
        beat("alive", 60 * minute)
        if not minute:
            beat("silent", 0)
        assert roll.gone() == (["silent"] if minute == 2 else [])
        wait(60)
    store.forget(["silent"])
    beat("alive", 180)
    assert roll.gone() == []
    beat("silent", 180)  # it is back
    wait(60)
    beat("alive", 240)
    assert roll.gone() == []


def test_who_could_not_look_waits_again_for_the_others(
    store: SupervisorStore, beat: Callable[[str, float], None], wait: Callable[[float], None], tmp_path: Path
) -> None:
    """The database was away for all of them, or all of them slept."""
    roll = RollCall(store, tmp_path)
    beat("silent", 0)
    assert roll.gone() == []
    wait(3600)
    for _ in range(2):
        assert roll.gone() == []
        wait(60)
    assert roll.gone() == ["silent"]


def test_who_lives_on_this_machine_is_never_gone(
    store: SupervisorStore, beat: Callable[[str, float], None], wait: Callable[[float], None], tmp_path: Path
) -> None:
    """Its disk may be full, so that it can give no sign."""
    roll, own = RollCall(store, tmp_path), executor_id(tmp_path, "cpu")
    beat(own, 0)
    with hold_lock(lock_file(tmp_path, "cpu"), what="the device"):
        for _ in range(4):
            assert roll.gone() == []
            wait(60)
    assert roll.gone() == [own]


def test_devices_are_those_of_the_page_and_others_that_are_there(
    store: SupervisorStore, beat: Callable[[str, float], None], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, shared=tmp_path / "shared")
    assert Fleet(store, settings).devices() == []
    beat("there", -100)
    beat("gone", -140)
    settings.runtime_dir.mkdir()
    beat(executor_id(settings.runtime_dir, "gpu-0"), 0)
    assert Fleet(store, settings, [Device(0, "Own GPU")]).devices() == [("Own GPU", True), ("A GPU", True)]
    assert Fleet(store, settings).size() == 2
    alone = Fleet(store, Settings(home=tmp_path), [cpu()])
    assert alone.devices() == [(cpu().name, False)]


def test_machine_alone_needs_no_shared_folder(engine: sa.Engine, tmp_path: Path) -> None:
    alone = Settings(home=tmp_path / "alone")
    SupervisorStore(engine).check_shared_folder(alone)
    assert not alone.home.exists()


def test_machines_of_one_database_must_work_in_one_folder(engine: sa.Engine, tmp_path: Path) -> None:
    one = Settings(home=tmp_path / "one", shared=tmp_path / "shared")
    SupervisorStore(engine).check_shared_folder(one)
    SupervisorStore(engine).check_shared_folder(Settings(home=tmp_path / "two", shared=tmp_path / "shared"))
    for other in (None, tmp_path / "other"):
        with pytest.raises(RequestError, match="set STUDIO_SHARED to that folder"):
            SupervisorStore(engine).check_shared_folder(Settings(home=tmp_path / "three", shared=other))
    assert not (tmp_path / "other").exists()
    for file in one.shared_dir.iterdir():
        file.unlink()  # the network file system is not mounted
    with pytest.raises(RequestError, match="not the one"):
        SupervisorStore(engine).check_shared_folder(one)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from jobs.record import store as store_module
from jobs.record.state import OPEN_STATES, RESUMABLE_STATES, JobState, StopWish, explain_exit, may_follow, outcome
from jobs.record.store import EVERYBODY, JobStore, open_engine
from jobs.runs import progress as progress_module
from jobs.runs.progress import progress_of, read_progress
from jobs.runs.speed import Speeds
from tests.engine.conftest import small_recipe
from tests.jobs.made_by_hand import make_job
from trainer.errors import RequestError
from trainer.events import EventLog, Failed, Finished, Phase, PhaseChanged, Preview, Started, Step
from trainer.recipe.choices import STARTER


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}"))
    yield store
    store.close()


def test_finished_is_final_and_open_states_are_not_resumable() -> None:
    assert not any(may_follow(JobState.finished, state) for state in JobState)
    assert not OPEN_STATES & RESUMABLE_STATES
    assert all(may_follow(state, JobState.waiting) for state in RESUMABLE_STATES)


@pytest.mark.parametrize(
    ("code", "wish", "whole", "state"),
    [
        (0, StopWish.none, True, JobState.finished),
        (0, StopWish.none, False, JobState.failed),  # exit 0 alone is no success
        (1, StopWish.none, True, JobState.failed),
        (3, StopWish.keep, True, JobState.stopped),
        (3, StopWish.cancel, False, JobState.cancelled),
        (0, StopWish.cancel, True, JobState.cancelled),
        (-9, StopWish.none, False, JobState.failed),
        (2, StopWish.none, False, JobState.failed),
    ],
)
def test_outcome_needs_exit_code_wish_and_artifact(code: int, wish: StopWish, whole: bool, state: JobState) -> None:
    assert outcome(code, wish, artifact_is_whole=whole) is state


@pytest.mark.fault(16)
def test_kill_by_the_system_is_told_from_other_ends() -> None:
    assert "memory" in explain_exit(-9)
    assert "signal 15" in explain_exit(-15)


def test_forbidden_change_of_state_changes_nothing(store: JobStore) -> None:
    job = make_job(state=JobState.finished)
    store.add(job)
    assert not store.change_state(job.id, JobState.cancelled, message="x")
    assert store.get(job.id) == job


def test_job_that_runs_meanwhile_is_not_resumed_by_a_second_press(store: JobStore) -> None:
    job = make_job(state=JobState.running)
    store.add(job)
    assert not store.change_state(job.id, JobState.waiting, out_of=RESUMABLE_STATES)
    assert store.get(job.id) == job
    assert store.change_state(job.id, JobState.waiting)


def test_another_owner_sees_no_job_at_all(store: JobStore) -> None:
    job = make_job()
    store.add(job)
    for call in (store.get, store.visible):
        with pytest.raises(RequestError, match="no such job"):
            call(job.id, owner="eve")  # type: ignore[call-arg]
    assert store.visible_to("eve") == []
    assert store.visible_to("anna") == [job]


def test_everybodys_job_is_seen_but_not_owned(store: JobStore) -> None:
    job = make_job(owner=EVERYBODY)
    store.add(job)
    assert store.visible(job.id, "eve") == job
    with pytest.raises(RequestError):
        store.get(job.id, owner="eve")


def test_cancel_outranks_keep(store: JobStore) -> None:
    job = make_job(state=JobState.running)
    store.add(job)
    assert store.set_wish(job.id, StopWish.keep)
    assert store.set_wish(job.id, StopWish.cancel)
    assert not store.set_wish(job.id, StopWish.keep)
    assert store.get(job.id).wish is StopWish.cancel
    assert store.get(job.id).state is JobState.stopping


def test_waiting_jobs_cannot_be_asked_to_stop(store: JobStore) -> None:
    job = make_job()
    store.add(job)
    assert not store.set_wish(job.id, StopWish.keep)


def test_queue_order_is_fair_between_owners(store: JobStore) -> None:
    jobs = [make_job(owner="anna", priority=n + 1, queued=float(n)) for n in range(3)]
    jobs.append(make_job(owner="ben", priority=1, queued=5.0))
    for job in jobs:
        store.add(job)
    order = store.in_state(JobState.waiting)
    assert [j.owner for j in order] == ["anna", "ben", "anna", "anna"]
    assert order[1].id == jobs[3].id


def step(number: int, loss: float = 1.0) -> Step:
    return Step(step=number, total=10, loss=loss, lr=0.1, steps_per_second=2.0, eta_s=5.0)


STARTED = Started(recipe={}, device="cpu", attention="SDPA", precision="fp32", versions={})


def test_progress_moves_forward_through_the_phases() -> None:
    events = [PhaseChanged(phase=Phase.prepare), STARTED, PhaseChanged(phase=Phase.train, done=0, total=10), step(5)]
    fractions = [read_progress(events[: n + 1]).fraction for n in range(len(events))]
    assert fractions == sorted(fractions)
    assert 0.4 < fractions[-1] < 0.7
    assert read_progress([*events, Finished(artifact="artifact", seconds=9)]).fraction == 1.0


def test_after_a_resume_later_steps_replace_earlier_ones() -> None:
    resumed = STARTED.model_copy(update={"resumed_from": 2})
    progress = read_progress([STARTED, step(1, 9.0), step(2, 8.0), step(3, 7.0), resumed, step(3, 6.0)])
    assert progress.losses == {1: 9.0, 2: 8.0, 3: 6.0}
    assert progress.step == 3


def test_failure_is_kept_until_the_next_start() -> None:
    failed = Failed(cause="x", advice="y")
    assert read_progress([STARTED, failed]).failure == failed
    assert read_progress([STARTED, failed, STARTED]).failure is None
    prepare = PhaseChanged(phase=Phase.prepare)  # an import never says more of its start
    assert read_progress([prepare, failed]).failure == failed
    assert read_progress([prepare, failed, prepare]).failure is None


def test_previews_are_kept_by_step() -> None:
    assert read_progress([Preview(step=0, files=["a"]), Preview(step=5, files=["b"])]).previews == {0: ["a"], 5: ["b"]}


def test_events_file_is_read_again_when_it_has_grown_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert progress_of(file).step == 0
    log = EventLog(file)
    log(step(1))
    first = progress_of(file)
    assert progress_of(file) is first
    log(step(2))
    assert progress_of(file).step == 2
    assert first.step == 1


def test_few_are_read_again_where_there_are_a_few_more_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "_MOST_KEPT", 50)
    monkeypatch.setattr(progress_module, "_KEPT", {})
    files = [tmp_path / f"{number}.jsonl" for number in range(52)]
    for file in files:
        EventLog(file)(step(1))
    first = [progress_of(file) for file in files]
    again = [progress_of(file) for file in files]
    assert sum(new is not old for new, old in zip(again, first, strict=True)) < 30
    assert len(progress_module._KEPT) == 50


def test_speed_is_learnt_from_a_finished_run(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    recipe = small_recipe(tmp_path, "dreambooth-lora", steps=100)
    assert speeds.estimate(recipe) is None  # nothing is known of this base
    progress = read_progress([STARTED, step(100).model_copy(update={"steps_per_second": 4.0})])
    progress.seconds = 35.0
    speeds.learn(recipe, progress)
    assert speeds.estimate(recipe) == (pytest.approx(35.0), True)
    twice = recipe.model_copy(update={"steps": 200})
    assert speeds.estimate(twice) == (pytest.approx(60.0), True)
    starter = recipe.model_copy(update={"base": "starter"})
    estimate = speeds.estimate(starter)
    assert estimate is not None
    assert not estimate.measured


@pytest.mark.parametrize("damaged", ["[]", "3", "half a fi", '{"a": []}', '{"a": ["b", 1]}', b"\xff\xfe"])
def test_damaged_speeds_are_learnt_anew(tmp_path: Path, damaged: str | bytes) -> None:
    file = tmp_path / "speeds.json"
    file.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    recipe = small_recipe(tmp_path, "dreambooth-lora", steps=100)
    speeds = Speeds(file)
    assert speeds.estimate(recipe) is None
    progress = read_progress([STARTED, step(100).model_copy(update={"steps_per_second": 4.0})])
    progress.seconds = 35.0
    speeds.learn(recipe, progress)
    assert Speeds(file).estimate(recipe) == (pytest.approx(35.0), True)


def test_method_that_never_ran_here_is_as_slow_as_the_others_were(tmp_path: Path) -> None:
    speeds = Speeds(tmp_path / "speeds.json")
    ran, new = (
        small_recipe(tmp_path, method, steps=100).model_copy(update={"base": STARTER})
        for method in ("dreambooth-lora", "textual-inversion")
    )
    guessed_for_it, guessed = speeds.estimate(ran), speeds.estimate(new)
    assert guessed_for_it is not None and guessed is not None
    assert not guessed_for_it.measured and not guessed.measured
    around = 30.0
    thrice = 100 / (3 * (guessed_for_it.seconds - around))
    progress = read_progress([STARTED, step(100).model_copy(update={"steps_per_second": thrice})])
    progress.seconds = 3 * guessed_for_it.seconds
    speeds.learn(ran, progress)
    assert speeds.estimate(new) == (pytest.approx(3 * guessed.seconds), False)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:a-secret@127.0.0.1:1/jobs", "The database does not answer"),
        ("postgresql://me:a-secret@127.0.0.1:many/jobs", "names no database"),
        ("sqlite:////proc/nowhere/jobs.sqlite", "/proc/nowhere/jobs.sqlite cannot be opened"),
    ],
)
def test_database_that_cannot_be_used_is_said_in_words_without_its_password(url: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as error:
        open_engine(url)
    assert "a-secret" not in str(error.value)


def test_damaged_database_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all")
    with pytest.raises(RequestError, match=r"jobs\.sqlite cannot be opened.*restored from their files"):
        open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")


@pytest.mark.fault(53)
@pytest.mark.parametrize("change", ["ALTER TABLE jobs DROP COLUMN title", "ALTER TABLE jobs ADD COLUMN new TEXT"])
def test_database_of_another_version_is_named_with_the_way_out(tmp_path: Path, change: str) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    JobStore(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(change))
    with pytest.raises(RequestError, match=r"jobs\.sqlite was made by another version.*restored from their files"):
        JobStore(engine)
    engine.dispose()


@pytest.mark.fault(54)
def test_database_that_goes_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in its place is what a stopped server is to Postgres: connecting fails until it is back."""
    monkeypatch.setattr(store_module, "_ABSENCE_POLL_S", 0.01)
    file = tmp_path / "jobs.sqlite"
    asked: list[bool] = []

    def given_up() -> bool:
        asked.append(True)
        if len(asked) == 3:
            file.rmdir()
            (tmp_path / "away").rename(file)
        return False

    engine = open_engine(f"sqlite:///{file}", wait_until=given_up)
    store = JobStore(engine)
    store.add(make_job(id="1"))
    engine.dispose()
    file.rename(tmp_path / "away")
    file.mkdir()
    assert store.get("1").id == "1"
    assert len(asked) == 3


def test_database_that_stays_away_is_waited_for_until_the_process_goes(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    engine = open_engine(f"sqlite:///{file}", wait_until=lambda: True)
    store = JobStore(engine)
    engine.dispose()
    file.unlink()
    file.mkdir()
    with pytest.raises(OperationalError):
        store.find("1")

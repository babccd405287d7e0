"""What a job costs: counted once whatever is killed in between, and stopped at its limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.money.counting import Counting
from jobs.money.space_state import SpaceState
from jobs.record.bill import Bill, count, dollars, read_bill, write_bill
from jobs.record.job_file import read_job_file, write_job_file
from jobs.record.remote_run import RemoteRun, write_remote
from jobs.record.state import JobState, StopWish
from jobs.record.store import Job
from tests.jobs.money.space_fixtures import START, Scene
from trainer.settings import Settings

T4 = SpaceState(flavor="t4-small", machine="Nvidia T4 - small", usd_per_hour=0.4)
FREE = SpaceState(flavor="cpu-basic", usd_per_hour=0.0)


@pytest.fixture
def scene(settings: Settings, photo_folder: Path) -> Scene:
    return Scene(settings, photo_folder)


@pytest.fixture
def job(scene: Scene) -> Job:
    return scene.add_job()


def counting(scene: Scene, state: SpaceState = T4, cap_usd: float | None = None) -> Counting:
    return Counting(scene.jobs, scene.settings.runs_dir, lambda: state, cap_usd=cap_usd)


def bill_of(scene: Scene, job: Job) -> Bill:
    bill = read_bill(scene.run(job))
    assert bill is not None
    return bill


def test_counting_again_adds_nothing(job: Job) -> None:
    once = count(Bill(), job, START + 100)
    assert once.seconds == 100
    assert count(once, job, START + 100) == once
    assert count(once, job, START + 130).seconds == 130


def test_end_counts_once(job: Job) -> None:
    ended = replace(job, state=JobState.finished, ended=START + 70)
    at_end = count(count(Bill(), job, START + 50), ended, START + 500)
    assert at_end.seconds == 70
    assert count(at_end, ended, START + 900) == at_end


def test_run_that_nobody_watched_is_counted_by_its_own_times(job: Job) -> None:
    ended = replace(job, state=JobState.finished, ended=START + 70)
    assert count(Bill(), ended, START + 500).seconds == 70


def test_waiting_costs_nothing(job: Job) -> None:
    bill = count(Bill(), job, START + 50)
    bill = count(bill, replace(job, state=JobState.waiting), START + 60)
    cancelled = replace(job, state=JobState.cancelled, ended=START + 900)
    assert count(bill, cancelled, START + 950).seconds == 50
    again = replace(job, started=START + 1000)
    assert count(bill, again, START + 1010).seconds == 60


def test_bill_that_cannot_be_read_is_not_written_over_and_is_counted_once_it_can(scene: Scene, job: Job) -> None:
    counts, file = counting(scene), scene.run(job).root / "cost.json"
    write_bill(scene.run(job), Bill(limit_usd=5.0))
    counts.count(START + 100)
    known = file.read_text()
    file.unlink()
    file.mkdir()
    counts.count(START + 200)
    scene.jobs.change_state(job.id, JobState.finished, ended=START + 250)
    counts.count(START + 300)
    file.rmdir()
    file.write_text(known)
    counts.count(START + 400)
    assert bill_of(scene, job).seconds == 250
    assert bill_of(scene, job).limit_usd == 5.0


@pytest.mark.fault(55)
def test_clock_that_was_set_back_takes_nothing_away(job: Job) -> None:
    bill = count(count(Bill(), job, START + 100), job, START + 40)
    assert bill.seconds == 100
    assert count(bill, job, START + 50).seconds == 110


def test_limit_is_kept_with_a_little_left_for_the_export() -> None:
    bill = Bill(usd_per_hour=3.6, limit_usd=1.0, seconds=800)
    assert not bill.reaches_limit
    assert bill.model_copy(update={"seconds": 900}).reaches_limit
    assert not bill.model_copy(update={"seconds": 900, "usd_per_hour": None}).reaches_limit
    assert not bill.model_copy(update={"seconds": 9e9, "limit_usd": None}).reaches_limit


def test_running_job_is_priced_counted_and_written(scene: Scene, job: Job) -> None:
    counting(scene).count(START + 90)
    bill = bill_of(scene, job)
    assert (bill.machine, bill.usd_per_hour, bill.seconds, bill.running) == ("Nvidia T4 - small", 0.4, 90, True)
    assert bill.cost(bill.seconds) == pytest.approx(0.01)


def test_kill_between_two_counts_loses_and_doubles_nothing(scene: Scene, job: Job) -> None:
    counting(scene).count(START + 90)
    later = counting(scene)
    later.count(START + 400)
    later.count(START + 401)
    scene.jobs.change_state(job.id, JobState.finished, ended=START + 420.0)
    after_end = counting(scene)
    after_end.count(START + 5000)
    after_end.count(START + 5001)
    assert bill_of(scene, job).seconds == pytest.approx(420)
    assert not bill_of(scene, job).running


def test_job_at_its_limit_is_stopped_and_kept(scene: Scene, job: Job) -> None:
    write_bill(scene.run(job), Bill(limit_usd=0.2))
    watch = counting(scene)
    watch.count(START + 600)
    assert scene.jobs.get(job.id).wish is StopWish.none
    watch.count(START + 1800)
    stopping = scene.jobs.get(job.id)
    assert (stopping.state, stopping.wish) == (JobState.stopping, StopWish.keep)
    assert bill_of(scene, job).at_limit


def test_import_or_extraction_at_its_limit_is_cancelled_for_it_heeds_nothing_else(scene: Scene, job: Job) -> None:
    scene.run(job).task_file.touch()
    write_bill(scene.run(job), Bill(limit_usd=0.2))
    counting(scene).count(START + 1800)
    assert scene.jobs.get(job.id).wish is StopWish.cancel


def test_limit_that_was_reached_holds_after_a_kill_before_the_stop(scene: Scene, job: Job) -> None:
    write_bill(scene.run(job), Bill(limit_usd=0.2, at_limit=True, usd_per_hour=0.4, flavor="t4-small"))
    counting(scene).count(START + 1)
    assert scene.jobs.get(job.id).wish is StopWish.keep


def test_who_resumes_at_the_limit_allows_as_much_again_and_only_then(scene: Scene, job: Job) -> None:
    write_bill(scene.run(job), Bill(limit_usd=0.2, at_limit=True, usd_per_hour=0.4, flavor="t4-small", seconds=1700))
    scene.jobs.change_state(job.id, JobState.stopped, ended=START)
    scene.jobs.change_state(job.id, JobState.waiting, attempt=2, wish=StopWish.none.value, ended=None)
    scene.jobs.change_state(job.id, JobState.running, started=START + 2000)
    watch = counting(scene)
    watch.count(START + 2600)
    assert scene.jobs.get(job.id).wish is StopWish.none
    watch.count(START + 2000 + 1700)
    assert scene.jobs.get(job.id).wish is StopWish.keep
    resumed_early = count(Bill(seconds=500), replace(job, attempt=2), START)
    assert resumed_early.earlier_usd == 0


def test_job_that_is_to_stop_at_its_limit_gets_no_more_when_a_lost_database_makes_it_begin_again(
    scene: Scene, job: Job
) -> None:
    write_job_file(scene.run(job), job)
    write_bill(scene.run(job), Bill(limit_usd=0.2))
    counting(scene).count(START + 1800)
    file = read_job_file(scene.run(job))
    assert file is not None
    assert file.wish is StopWish.keep
    again = replace(job, attempt=2, wish=file.wish)
    assert count(bill_of(scene, job), again, START + 1801).reaches_limit
    assert count(bill_of(scene, job), replace(again, wish=StopWish.none), START + 1801).earlier_usd > 0


def test_owners_cap_holds_for_a_job_that_was_queued_without_conditions(scene: Scene, job: Job) -> None:
    (scene.run(job).root / "cost.json").unlink()
    watch = counting(scene, cap_usd=0.1)
    watch.count(START + 60)
    assert bill_of(scene, job).limit_usd == 0.1
    watch.count(START + 900)
    assert scene.jobs.get(job.id).wish is StopWish.keep


def test_free_hardware_needs_no_bill(scene: Scene, job: Job) -> None:
    (scene.run(job).root / "cost.json").unlink()
    counting(scene, FREE, cap_usd=0.1).count(START + 60)
    assert read_bill(scene.run(job)) is None


def test_job_that_was_deleted_leaves_no_folder_behind(scene: Scene, job: Job) -> None:
    watch = counting(scene)
    watch.count(START + 10)
    scene.jobs.delete(job.id)
    for file in sorted(scene.run(job).root.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    scene.run(job).root.rmdir()
    watch.count(START + 20)
    assert not scene.run(job).root.exists()


def test_damaged_bill_is_no_bill_and_is_counted_anew_under_the_machines_limit(scene: Scene, job: Job) -> None:
    (scene.run(job).root / "cost.json").write_text("{")
    assert read_bill(scene.run(job)) is None
    counting(scene, cap_usd=2.0).count(START + 20)
    assert (bill_of(scene, job).limit_usd, bill_of(scene, job).seconds) == (2.0, 20)


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "$0.00"), (0.004, "less than $0.01"), (0.126, "$0.13"), (12, "$12.00")]
)
def test_money_is_said_in_cents(amount: float, words: str) -> None:
    assert dollars(amount) == words


def test_job_at_hugging_face_is_not_on_the_bill_of_this_machine(scene: Scene, job: Job) -> None:
    rented = RemoteRun(flavor="t4-small", machine="Nvidia T4 - small", usd_per_hour=0.4, limit_s=600, namespace="alice")
    write_remote(scene.run(job), rented)
    before = bill_of(scene, job)
    counting(scene, cap_usd=0.0001).count(START + 3600)
    assert bill_of(scene, job) == before
    assert scene.jobs.get(job.id).wish is StopWish.none


def test_change_of_hardware_leaves_earlier_hours_at_their_price(job: Job) -> None:
    an_hour = count(Bill(limit_usd=3.0).on_hardware("t4-small", "T4", 0.4), job, START + 3600)
    on_a100 = an_hour.on_hardware("a100-large", "A100", 2.5)
    assert on_a100.cost(on_a100.seconds) == pytest.approx(0.4)
    two_hours = count(on_a100, job, START + 7200)
    assert two_hours.cost(two_hours.seconds) == pytest.approx(2.9)
    assert two_hours.reaches_limit
    assert not on_a100.reaches_limit


def test_time_before_the_price_was_known_counts_at_it(job: Job) -> None:
    bill = count(Bill(flavor="t4-small"), job, START + 3600).on_hardware("t4-small", "T4", 0.4)
    assert bill.cost(bill.seconds) == pytest.approx(0.4)


def test_job_that_goes_on_without_paid_hardware_costs_no_more(scene: Scene, job: Job) -> None:
    counting(scene).count(START + 3600)
    counting(scene, FREE).count(START + 3600)
    counting(scene, FREE).count(START + 36_000)
    bill = bill_of(scene, job)
    assert bill.cost(bill.seconds) == pytest.approx(0.4)


def test_hardware_that_is_not_known_yet_is_not_taken_to_be_free(scene: Scene, job: Job) -> None:
    counting(scene).count(START + 3600)
    counting(scene, SpaceState()).count(START + 7200)
    bill = bill_of(scene, job)
    assert bill.usd_per_hour == T4.usd_per_hour
    assert bill.cost(bill.seconds) == pytest.approx(0.8)

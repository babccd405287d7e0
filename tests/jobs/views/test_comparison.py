"""Two trainings on the same photos: queued together or not at all, found again, compared by their owner alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobs.__main__ import main
from jobs.open import open_service
from jobs.record.bill import Bill, read_bill
from jobs.record.comparison import Comparison, Order
from jobs.record.state import JobState
from jobs.record.store import Job, new_job_id
from jobs.runs.progress import read_progress
from jobs.service import JobService
from jobs.submission.caps import MAX_OPEN_PER_OWNER
from tests.engine.conftest import PREVIEWED, small_recipe
from tests.jobs.finished_run import write_finished_run
from tests.pictures import write_photos
from trainer.errors import EXIT_DONE, RequestError
from trainer.events import Finished, Measured, Phase, PhaseChanged, Preview, Started, Step
from trainer.photos.intake import PhotoSet, take_folder
from trainer.settings import Settings

Pair = Callable[..., Comparison]
Submit = Callable[..., Job]
METHODS = ("textual-inversion", "dreambooth-lora")


@pytest.fixture
def pair(service: JobService, tiny_model: Path, photo_folder: Path) -> Pair:
    """Queues textual inversion and a LoRA on the same photos."""

    def call(owner: str = "anna", press_id: str | None = None, bill: Bill | None = None, **changes: Any) -> Comparison:
        first, second = (
            Order(small_recipe(tiny_model, method, **{**PREVIEWED, **changes}), bill) for method in METHODS
        )
        return service.submitting.submit_pair(
            owner, (first, second), partial(take_folder, photo_folder), press_id=press_id
        )

    return call


def learn(service: JobService, job_id: str, *, knows: float, seconds: float = 60) -> None:
    """What a run tells of itself: two previews of one picture each, and its scores."""
    log = service.run_folder(job_id).events
    began = datetime.now(UTC)
    log(PhaseChanged(phase=Phase.prepare, time=began - timedelta(hours=1)))
    log(Started(recipe={}, device="CPU", attention="sdpa", precision="fp32", versions={}, time=began))
    log(Preview(step=0, files=["previews/step-000000-0.png"], time=began))
    end = began + timedelta(seconds=seconds)
    log(Step(step=6, total=6, loss=0.25, lr=1e-3, steps_per_second=1, eta_s=0, time=end))
    log(Preview(step=6, files=["previews/step-000006-0.png"], time=end))
    log(
        Measured(
            knows_subject=knows, changed_elsewhere=0.0, trained_parameters=128, peak_memory_bytes=2 * 10**9, time=end
        )
    )
    log(Finished(artifact="artifact", seconds=seconds, time=end))


def test_pair_is_two_waiting_jobs_on_the_same_photos(service: JobService, pair: Pair) -> None:
    comparison = pair()
    jobs = [service.job(job_id, "anna") for job_id in comparison.jobs]
    assert [job.method for job in jobs] == list(METHODS)
    assert {job.name for job in jobs} == {"red-mug"}
    assert [service.view(job.id, "anna").place for job in jobs] == [1, 2]
    first, second = (service.run_folder(job.id).photos for job in jobs)
    assert {f.name: f.read_bytes() for f in first.iterdir()} == {f.name: f.read_bytes() for f in second.iterdir()}
    assert service.compared_with(jobs[0].id, "anna") == jobs[1].id
    assert service.compared_with(jobs[1].id, "anna") == jobs[0].id


def test_same_press_is_the_same_pair_and_nobody_elses(service: JobService, pair: Pair) -> None:
    press = new_job_id()
    assert pair(press_id=press) == pair(press_id=press)
    assert len(service.views("anna")) == 2
    with pytest.raises(RequestError, match="no such job"):
        pair("eve", press_id=press)
    assert service.views("eve") == []


def test_pair_that_would_exceed_the_cap_queues_neither(service: JobService, submit: Submit, pair: Pair) -> None:
    for _ in range(MAX_OPEN_PER_OWNER - 1):
        submit()
    with pytest.raises(RequestError, match="2 more would be over the limit"):
        pair()
    assert len(service.views("anna")) == MAX_OPEN_PER_OWNER - 1
    submit()  # one more is allowed


def test_pair_waits_its_turn_behind_others_first_jobs(service: JobService, submit: Submit, pair: Pair) -> None:
    comparison = pair("anna")
    job = submit("ben")
    assert service.view(job.id, "ben").place == 2
    assert service.view(comparison.jobs[1], "anna").place == 3


def test_second_that_cannot_be_prepared_takes_the_first_with_it(
    settings: Settings, service: JobService, tiny_model: Path, photo_folder: Path
) -> None:
    calls: list[Path] = []

    def take_once(folder: Path) -> PhotoSet:
        calls.append(folder)
        if len(calls) == 2:
            raise OSError("No space left on device")
        return take_folder(photo_folder, folder)

    first, second = (Order(small_recipe(tiny_model, method, **PREVIEWED)) for method in METHODS)
    press = new_job_id()
    with pytest.raises(OSError, match="No space"):
        service.submitting.submit_pair("anna", (first, second), take_once, press_id=press)
    assert service.views("anna") == []
    assert list((settings.home / "runs").iterdir()) == []
    assert (
        service.submitting.submit_pair("anna", (first, second), partial(take_folder, photo_folder), press_id=press).id
        == press
    )


def test_each_of_a_pair_has_its_own_bill(service: JobService, pair: Pair) -> None:
    comparison = pair(bill=Bill(usd_per_hour=0.4, limit_usd=1.0))
    assert [read_bill(service.run_folder(job_id)).limit_usd for job_id in comparison.jobs] == [1.0, 1.0]  # type: ignore[union-attr]


def test_pair_is_known_again_after_a_lost_database(settings: Settings, service: JobService, pair: Pair) -> None:
    comparison = pair()
    service.close()
    for file in settings.home.glob("studio.sqlite*"):
        file.unlink()
    restored = open_service(settings)
    try:
        assert restored.rebuild() == 2
        assert restored.compared_with(comparison.id, "anna") == comparison.jobs[1]
    finally:
        restored.close()


def test_job_whose_partner_was_deleted_stands_alone(service: JobService, submit: Submit, pair: Pair) -> None:
    first, second = pair().jobs
    service.cancel(second, "anna")
    service.delete(second, "anna")
    assert service.compared_with(first, "anna") is None
    assert service.compared_with(submit().id, "anna") is None


def test_comparison_of_another_owners_job_is_as_if_there_were_none(
    service: JobService, submit: Submit, pair: Pair
) -> None:
    first, second = pair("anna").jobs
    own = submit("eve")
    for left, right in ((first, second), (own.id, first), (first, own.id), (own.id, "f" * 16)):
        with pytest.raises(RequestError, match=r"^There is no such job\.$"):
            service.compare(left, right, "eve")
    for job_id in (first, "f" * 16):
        with pytest.raises(RequestError, match=r"^There is no such job\.$"):
            service.compared_with(job_id, "eve")


def test_waiting_pair_shows_which_previews_will_come(service: JobService, pair: Pair) -> None:
    compared = service.compare(*pair(preview_count=2).jobs, "anna")
    assert [(p.prompt, p.seed, p.left, p.right) for p in compared.previews] == [
        ("a photo of <concept>", 1000, (), ()),
        ("a photo of <concept>", 1001, (), ()),
    ]
    assert compared.notes == []
    assert [fact.label for fact in compared.facts] == ["Steps"]


def test_one_side_that_learnt_is_shown_beside_one_that_waits(service: JobService, pair: Pair) -> None:
    first, second = pair().jobs
    learn(service, second, knows=0.137)
    compared = service.compare(first, second, "anna")
    facts = {fact.label: (fact.left, fact.right) for fact in compared.facts}
    assert facts["How well it knows the subject"] == (None, "14 %")
    assert facts["How much it changed everything else"] == (None, "0 %")
    assert facts["Steps"] == ("0 of 6", "6")
    assert facts["Time at work"] == (None, "1 min 00 s")
    assert facts["Most memory used"] == (None, "2.0 GB")
    assert [shot.share for shot in compared.previews[0].right] == [0.0, 1.0]
    assert compared.shares == [0.0, 1.0]


def test_older_runs_without_scores_leave_those_lines_out(service: JobService, pair: Pair) -> None:
    labels = [fact.label for fact in service.compare(*pair().jobs, "anna").facts]
    assert not any("knows" in label or "changed" in label for label in labels)


def test_finished_result_says_its_size(service: JobService, pair: Pair, photo_folder: Path, tmp_path: Path) -> None:
    first, second = pair().jobs
    service.cancel(second, "anna")
    done = write_finished_run(tmp_path / "done", photo_folder)
    done.artifact.rename(service.run_folder(second).artifact)
    facts = {fact.label: (fact.left, fact.right) for fact in service.compare(first, second, "anna").facts}
    assert facts["Size of the result"] == (None, "11 KB")


def test_two_of_different_names_are_paired_and_of_different_photos_are_told_apart(
    service: JobService, submit: Submit, tiny_model: Path, tmp_path: Path
) -> None:
    first = submit(**PREVIEWED)
    recipe = small_recipe(tiny_model, "dreambooth-lora", name="blue-cat", **PREVIEWED)
    photos = write_photos(tmp_path / "other", count=3)
    second = service.submitting.submit("anna", recipe, partial(take_folder, photos))
    compared = service.compare(first.id, second.id, "anna")
    assert [pair.prompt for pair in compared.previews] == ["a photo of <concept>"]
    assert any("different photos" in note for note in compared.notes)


def test_previews_of_different_prompts_are_not_paired(service: JobService, submit: Submit) -> None:
    first, second = submit(**PREVIEWED), submit(**PREVIEWED, preview_prompt="<red-mug> at sea")
    compared = service.compare(first.id, second.id, "anna")
    assert compared.previews == []
    assert any("no prompt and seed in common" in note for note in compared.notes)


def test_time_at_work_leaves_out_loading_and_interruptions() -> None:
    def at(minute: int) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)

    started = {"recipe": {}, "device": "", "attention": "", "precision": "", "versions": {}}
    events = [
        PhaseChanged(phase=Phase.prepare, time=at(0)),
        Started(**started, time=at(5)),  # pyright: ignore[reportArgumentType]
        Preview(step=0, files=[], time=at(7)),
        PhaseChanged(phase=Phase.prepare, time=at(60)),
        Started(**started, time=at(61)),  # pyright: ignore[reportArgumentType]
        Finished(artifact="a", seconds=1, time=at(64)),
    ]
    assert read_progress(events).worked_s == (2 + 3) * 60


def test_time_in_the_queue_ends_with_the_first_start_and_begins_anew_with_a_resume() -> None:
    def at(minute: int) -> PhaseChanged:
        return PhaseChanged(phase=Phase.prepare, time=datetime.fromtimestamp(minute * 60, UTC))

    progress = read_progress([at(5), at(9), at(30)])
    assert progress.waited_s(2 * 60) == 3 * 60
    assert progress.waited_s(20 * 60) == 10 * 60
    assert progress.waited_s(40 * 60) is None


def test_command_line_prints_the_comparison_of_either_job(
    service: JobService, pair: Pair, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = pair().jobs
    learn(service, first, knows=0.5)
    assert main(["compare", second]) == EXIT_DONE
    table = capsys.readouterr().out
    assert "red-mug (dreambooth-lora), waiting" in table
    assert "How well it knows the subject" in table
    assert main(["compare", first, second, "--json"]) == EXIT_DONE
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["left"]["knows_subject"] == 0.5
    assert numbers["right"]["knows_subject"] is None
    assert numbers["right"]["state"] == JobState.waiting
    assert len(numbers["previews"][0]["left"]) == 2
    assert main(["compare", submit().id]) == RequestError("").exit_code
    assert "queued alone" in capsys.readouterr().err

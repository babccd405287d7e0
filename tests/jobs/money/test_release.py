"""A Space's hardware is given back once, and only when nobody needs it, round by round on the local Hub."""

from __future__ import annotations

import os
import re

import pytest
from huggingface_hub import HfApi, SpaceHardware

from jobs.money.space_state import ReleaseStage, keep_wish_file
from jobs.record.publications import PublicationState
from jobs.record.state import JobState
from jobs.record.store import EVERYBODY
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.money.space_fixtures import START, STUDIO, Scene, requests_for

HOUR, LONG = 3600.0, 900.0


def test_hardware_goes_once_and_only_after_the_publication(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    job = scene.add_job(release=True)
    scene.pass_time(120)
    assert scene.state.release.stage is ReleaseStage.kept
    scene.run(job).artifact.joinpath("artifact.json").write_text("{}")
    scene.jobs.change_state(job.id, JobState.finished, ended=scene.moment)
    for state in (PublicationState.waiting, PublicationState.running, PublicationState.needs_sign_in):
        scene.publish(job, state)
        scene.pass_time(300)
        assert "1 result is on this machine alone" in scene.state.release.note
        assert not requests_for(hub, "hardware")
    scene.publish(job)
    scene.pass_time(30)
    assert scene.state.release.stage is ReleaseStage.settling
    scene.pass_time_until(lambda: scene.released)
    assert re.search(r"on \d\d January 2027 at \d\d:\d\d UTC, confirmed by the Hub", scene.state.release.note)
    scene.pass_time(LONG)
    assert len(requests_for(hub, "hardware")) == 1
    assert alice.get_space_runtime(STUDIO).hardware == "cpu-basic"


def test_nobody_asked_so_nothing_is_given_back(scene: Scene, hub: LocalHub) -> None:
    scene.publish(scene.add_job(JobState.finished))
    scene.pass_time(LONG)
    assert scene.state.release.stage is ReleaseStage.none
    assert not requests_for(hub, "hardware")


@pytest.mark.parametrize("end", [JobState.failed, JobState.cancelled])
def test_job_that_came_to_nothing_gives_the_hardware_back_too(scene: Scene, hub: LocalHub, end: JobState) -> None:
    scene.add_job(end, release=True, created=START)
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


@pytest.mark.parametrize("other", [JobState.waiting, JobState.running, JobState.stopping])
def test_other_open_job_keeps_the_hardware(scene: Scene, hub: LocalHub, other: JobState) -> None:
    scene.add_job(JobState.cancelled, release=True)
    job = scene.add_job(other, owner="bert")
    scene.pass_time(LONG)
    assert "when all jobs are done" in scene.state.release.note
    assert not requests_for(hub, "hardware")
    scene.jobs.change_state(job.id, JobState.cancelled, ended=scene.moment)
    scene.pass_time_until(lambda: scene.released)


def test_job_that_comes_at_the_last_moment_keeps_the_hardware(scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.cancelled, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.asked)
    scene.add_job(JobState.waiting)
    scene.pass_time(300)
    assert scene.state.release.stage is ReleaseStage.kept
    assert not requests_for(hub, "hardware")


def test_result_of_somebody_else_keeps_the_hardware(scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.add_job(JobState.stopped, owner="bert")
    scene.add_job(JobState.finished, owner=EVERYBODY)  # the example can be made again
    scene.pass_time(LONG)
    assert not requests_for(hub, "hardware")
    assert "1 result is" in scene.state.release.note
    scene.kept_until = scene.moment  # a mirror has it now
    scene.pass_time_until(lambda: scene.released)


def test_mirror_is_asked_once_a_round_however_many_results_there_are(scene: Scene) -> None:
    asked: list[float] = []

    def kept_until() -> float:
        asked.append(scene.moment)
        return 0.0

    for _ in range(3):
        scene.add_job(JobState.finished, release=True)
    scene.caretaker._kept_until = kept_until
    scene.pass_time(60)
    assert asked
    assert len(asked) == len(set(asked))


def test_deleting_the_job_that_is_in_the_way_gives_the_hardware_back(scene: Scene, hub: LocalHub) -> None:
    job = scene.add_job(JobState.finished, release=True)
    scene.pass_time(300)
    assert scene.state.release.stage is ReleaseStage.kept
    scene.jobs.delete(job.id)
    scene.start()
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


def test_wish_can_be_taken_back_until_the_hub_is_asked(scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.settling)
    keep_wish_file(scene.settings.home).touch()
    scene.pass_time(LONG)
    assert scene.state.release.stage is ReleaseStage.none
    assert not requests_for(hub, "hardware")
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.released)


def test_result_that_is_newer_than_its_publication_keeps_the_hardware(scene: Scene, hub: LocalHub) -> None:
    job = scene.add_job(JobState.finished, release=True)
    scene.publish(job)
    manifest = scene.run(job).artifact / "artifact.json"
    later = manifest.stat().st_mtime + 100
    os.utime(manifest, (later, later))
    scene.pass_time(LONG)
    assert scene.state.release.stage is ReleaseStage.kept
    assert not requests_for(hub, "hardware")


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"drop": True}, {"status": 401}, {"status": 403}])
def test_release_is_tried_again_with_patience(scene: Scene, hub: LocalHub, fault: dict[str, int]) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", times=3, **fault)  # type: ignore[arg-type]
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.tries == 2)
    assert "could not be given back yet, and goes on to cost" in scene.state.release.note
    assert "The next try is in about " in scene.state.release.note
    assert scene.state.release.stage is ReleaseStage.refused
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 4


def test_hub_that_asks_to_wait_an_hour_is_asked_after_an_hour(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", status=429, headers={"Retry-After": "3600"})
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.tries == 1)
    assert "asks to wait 1 h" in scene.state.release.note
    scene.pass_time(HOUR - 60)
    assert len(requests_for(hub, "hardware")) == 1
    scene.pass_time_until(lambda: scene.released)


def test_lost_answer_is_found_to_have_worked(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", drop=True, after_work=True)
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


def test_page_is_closed_only_for_the_seconds_of_each_try(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", times=3, status=403)
    scene.add_job(JobState.failed, release=True)
    closed_s = 0
    while not scene.released:
        scene.pass_time(5)
        closed_s += 5 * (scene.state.release.stage is ReleaseStage.asked)
    assert closed_s <= 4 * 10


def test_hardware_that_the_hub_did_not_take_back_can_be_kept(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", times=FOREVER, status=403)
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.tries == 2)
    keep_wish_file(scene.settings.home).touch()
    scene.pass_time(HOUR)
    assert scene.state.release.stage is ReleaseStage.none
    assert len(requests_for(hub, "hardware")) == 2


def test_job_that_comes_after_a_refusal_keeps_the_hardware_until_it_is_done(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", status=500)
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.refused)
    job = scene.add_job()
    scene.pass_time(HOUR)
    assert "when all jobs are done" in scene.state.release.note
    assert len(requests_for(hub, "hardware")) == 1
    scene.jobs.change_state(job.id, JobState.cancelled, ended=scene.moment)
    scene.pass_time_until(lambda: scene.released)


def test_wish_to_keep_that_came_with_the_last_call_is_heard(scene: Scene, hub: LocalHub) -> None:
    """The page looked a moment before the treasurer wrote that it is too late."""
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.asked)
    keep_wish_file(scene.settings.home).touch()
    scene.pass_time(LONG)
    assert not requests_for(hub, "hardware")


def test_hardware_that_the_owner_gives_back_by_hand_after_a_refusal_is_confirmed(alice: HfApi, scene: Scene) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.settling)
    scene.start(token=None)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.refused)
    alice.request_space_hardware(STUDIO, SpaceHardware.CPU_BASIC)
    scene.pass_time_until(lambda: scene.released, 120)


@pytest.mark.parametrize("stage", [ReleaseStage.settling, ReleaseStage.asked])
def test_kill_at_any_stage_costs_nothing_but_time(scene: Scene, hub: LocalHub, stage: ReleaseStage) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is stage)
    scene.start()
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


def test_kill_after_the_request_makes_no_second_one(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.asked)
    alice.request_space_hardware(STUDIO, SpaceHardware.CPU_BASIC)  # as the killed one had done
    scene.start()
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


def test_new_hardware_is_not_given_back_for_a_wish_about_the_old(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.released)
    alice.request_space_hardware(STUDIO, SpaceHardware.A10G_SMALL)
    scene.pass_time(LONG)
    assert scene.state.flavor == "a10g-small"
    assert scene.state.release.stage is ReleaseStage.none
    assert alice.get_space_runtime(STUDIO).requested_hardware == "a10g-small"


def restart_with_a_new_disk(scene: Scene) -> None:
    """The Space was restarted, and its jobs came back from a mirror."""
    (scene.settings.home / "space.json").unlink()
    scene.start()
    scene.pass_time(5)


def test_wish_holds_after_a_restart_with_a_new_disk(scene: Scene, hub: LocalHub) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.state.release.stage is ReleaseStage.settling)
    restart_with_a_new_disk(scene)
    scene.pass_time_until(lambda: scene.released)
    assert len(requests_for(hub, "hardware")) == 1


def test_wish_that_was_granted_is_over_on_the_next_disk(alice: HfApi, scene: Scene) -> None:
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.released)
    restart_with_a_new_disk(scene)
    alice.request_space_hardware(STUDIO, SpaceHardware.T4_SMALL)
    scene.pass_time(LONG)
    assert alice.get_space_runtime(STUDIO).requested_hardware == "t4-small"


@pytest.mark.parametrize("change", ["taken back", "about other hardware"])
def test_wish_that_is_over_stays_so_on_the_next_disk(scene: Scene, hub: LocalHub, change: str) -> None:
    taken_back = change == "taken back"
    scene.add_job(JobState.failed, release=True, flavor="t4-small" if taken_back else "a10g-small")
    if taken_back:
        keep_wish_file(scene.settings.home).touch()
        scene.pass_time(LONG)
    restart_with_a_new_disk(scene)
    scene.pass_time(LONG)
    assert not requests_for(hub, "hardware")


def test_job_that_is_resumed_wishes_again(scene: Scene) -> None:
    job = scene.add_job(JobState.failed, release=True)
    keep_wish_file(scene.settings.home).touch()
    scene.pass_time(LONG)
    assert scene.jobs.change_state(job.id, JobState.waiting)
    scene.pass_time(60)
    scene.jobs.change_state(job.id, JobState.cancelled, ended=scene.moment)
    scene.pass_time_until(lambda: scene.released)

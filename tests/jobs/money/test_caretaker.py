"""What is found out about a Space, its sleep timer, and what stands in the way, round by round on the local Hub."""

from __future__ import annotations

import os
from typing import Any

import pytest
from huggingface_hub import HfApi, SpaceHardware

from jobs.money.release import Verdict
from jobs.money.space_state import SpaceState, read_state
from jobs.record.remote_run import RemoteRun, write_remote
from jobs.record.state import JobState
from tests.hub.accounts import ALICE_READS
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.money.space_fixtures import STUDIO, Scene, requests_for
from trainer.run_folder import RunFolder

HOUR, LONG = 3600.0, 900.0


def test_hardware_price_and_timer_are_found_out(scene: Scene) -> None:
    scene.pass_time(5)
    state = scene.state
    assert (state.flavor, state.machine, state.sleep_s) == ("t4-small", "Nvidia T4 - small", None)
    assert state.usd_per_hour == pytest.approx(0.4)
    assert state.costs
    assert read_state(scene.settings.home) == state


def test_who_may_open_it_is_found_out_and_followed(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    scene.pass_time(5)
    assert scene.state.public is True
    alice.update_repo_settings(STUDIO, private=True, repo_type="space")
    scene.pass_time(120)
    assert scene.state.public is False
    hub.order_fault(f"GET /api/spaces/{STUDIO}$", times=FOREVER, status=503)
    scene.pass_time(120)
    assert scene.state.public is False


def test_free_hardware_is_left_alone(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    alice.request_space_hardware(STUDIO, SpaceHardware.CPU_BASIC)
    scene.add_job(release=True)
    scene.pass_time(LONG)
    assert not scene.state.costs
    assert len(requests_for(hub, "hardware")) == 1  # the test's own
    assert not requests_for(hub, "sleeptime")


def test_price_that_cannot_be_had_is_said_and_never_assumed(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault("GET /api/spaces/hardware", status=503)
    scene.pass_time(5)
    assert scene.state.usd_per_hour is None
    assert scene.state.costs
    assert "price list cannot be had" in scene.state.trouble
    scene.pass_time(60)
    assert scene.state.usd_per_hour == pytest.approx(0.4)
    assert scene.state.trouble == ""


def test_job_sets_a_sleep_timer_that_outlasts_it(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    scene.add_job()
    scene.pass_time(LONG)
    timer = alice.get_space_runtime(STUDIO).sleep_time
    assert timer is not None
    assert HOUR <= timer <= 24 * HOUR
    assert scene.state.sleep_s == timer
    assert len(requests_for(hub, "sleeptime")) == 1


def test_longer_timer_of_the_owner_is_left_alone(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    alice.set_space_sleep_time(STUDIO, 24 * 3600)
    scene.add_job()
    scene.pass_time(60)
    assert len(requests_for(hub, "sleeptime")) == 1  # the owner's


def test_shorter_timer_of_the_owner_holds_again_when_nothing_is_left_to_do(alice: HfApi, scene: Scene) -> None:
    alice.set_space_sleep_time(STUDIO, 900)
    job = scene.add_job()
    scene.pass_time(60)
    assert (alice.get_space_runtime(STUDIO).sleep_time or 0) >= HOUR
    scene.jobs.change_state(job.id, JobState.failed, ended=scene.moment)
    scene.pass_time(130)
    assert alice.get_space_runtime(STUDIO).sleep_time == 900


def test_timer_stays_while_a_result_is_nowhere_else(alice: HfApi, scene: Scene) -> None:
    alice.set_space_sleep_time(STUDIO, 900)
    job = scene.add_job()
    scene.pass_time(60)
    scene.add_job(JobState.finished)
    scene.jobs.change_state(job.id, JobState.failed, ended=scene.moment)
    scene.pass_time(LONG)
    assert (alice.get_space_runtime(STUDIO).sleep_time or 0) >= HOUR


def test_timer_grows_with_a_job_that_takes_longer(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    job = scene.add_job()
    scene.pass_time(60)
    first = alice.get_space_runtime(STUDIO).sleep_time or 0
    scene.moment += 1.5 * first
    events = RunFolder(scene.settings.runs_dir / job.id).events_file
    events.touch()
    os.utime(events, (scene.moment, scene.moment))
    scene.pass_time(120)
    assert (alice.get_space_runtime(STUDIO).sleep_time or 0) > first
    assert len(requests_for(hub, "sleeptime")) == 2


def test_timer_does_not_grow_for_a_job_that_shows_no_sign_of_life(alice: HfApi, scene: Scene) -> None:
    scene.add_job()
    scene.pass_time(60)
    first = alice.get_space_runtime(STUDIO).sleep_time
    scene.moment += 1.5 * (first or 0)
    scene.pass_time(120)
    assert alice.get_space_runtime(STUDIO).sleep_time == first


def test_timer_does_not_grow_for_jobs_at_hugging_face_and_is_the_owners_again_while_they_run(
    alice: HfApi, scene: Scene, hub: LocalHub
) -> None:
    alice.set_space_sleep_time(STUDIO, 900)
    rented = RemoteRun(flavor="t4-small", machine="Nvidia T4 - small", usd_per_hour=0.4, limit_s=600, namespace="alice")
    write_remote(scene.run(scene.add_job()), rented)
    scene.pass_time(60)
    assert alice.get_space_runtime(STUDIO).sleep_time == 900
    job = scene.add_job()
    scene.pass_time(60)
    assert (alice.get_space_runtime(STUDIO).sleep_time or 0) >= HOUR
    scene.jobs.change_state(job.id, JobState.failed, ended=scene.moment)
    scene.pass_time(130)
    assert alice.get_space_runtime(STUDIO).sleep_time == 900


def test_job_that_hangs_makes_the_timer_of_another_no_longer(alice: HfApi, scene: Scene) -> None:
    scene.add_job()
    scene.pass_time(60)
    scene.moment += 48 * HOUR
    scene.add_job()
    scene.pass_time(120)
    assert (alice.get_space_runtime(STUDIO).sleep_time or 0) <= 24 * HOUR


def test_result_that_keeps_the_hardware_does_not_keep_it_for_ever(alice: HfApi, scene: Scene) -> None:
    scene.add_job(JobState.finished, release=True)
    scene.pass_time(60)
    assert alice.get_space_runtime(STUDIO).sleep_time == 24 * 3600
    assert "sleeps after 24 h 00 min" in scene.state.release.note


def test_timer_that_could_not_be_set_is_said_and_set_later(alice: HfApi, scene: Scene, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/sleeptime", times=2, status=503)
    scene.add_job()
    scene.pass_time(5)
    assert "sleep timer could not be set" in scene.state.trouble
    scene.pass_time(120)
    assert scene.state.sleep_s is not None
    assert scene.state.trouble == ""


def test_without_a_secret_the_trouble_is_said_and_nothing_is_asked(scene: Scene, hub: LocalHub) -> None:
    scene.start(token=None)
    scene.add_job(release=True)
    scene.pass_time(LONG)
    assert "The secret HF_TOKEN is missing" in scene.state.trouble
    assert scene.state.usd_per_hour == pytest.approx(0.4)
    assert not requests_for(hub, "sleeptime")
    assert not requests_for(hub, "hardware")


def test_secret_that_may_not_write_is_said(scene: Scene) -> None:
    scene.start(token=ALICE_READS)
    scene.add_job()
    scene.pass_time(5)
    assert "may not manage this Space" in scene.state.trouble


def test_secret_that_may_not_write_is_tried_less_and_less_often(scene: Scene, hub: LocalHub) -> None:
    scene.start(token=ALICE_READS)
    scene.add_job()
    for _ in range(60):
        scene.pass_time(60)
    assert len(requests_for(hub, "sleeptime")) <= 7


def test_jobs_are_looked_through_less_often_than_the_clock_is_and_whenever_it_is_set_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[float]()
    judge = scene.caretaker._judge

    def counted(*about: Any) -> Verdict:
        looks.append(scene.moment)
        return judge(*about)

    monkeypatch.setattr(scene.caretaker, "_judge", counted)
    for _ in range(20):
        scene.moment += 3
        scene.caretaker.round(scene.moment)
    assert len(looks) == 4
    scene.moment -= 3600
    scene.caretaker.round(scene.moment)
    assert len(looks) == 5


def test_hub_that_is_away_is_waited_for(scene: Scene, hub: LocalHub) -> None:
    hub.order_fault("/api/spaces/", times=FOREVER, status=503)
    scene.add_job(release=True)
    scene.pass_time(600)
    assert "(503)" in scene.state.trouble
    assert not scene.state.costs
    assert len(hub.requests()) < 15
    hub.clear_faults()
    scene.pass_time(HOUR)
    assert scene.state.sleep_s is not None


def test_paused_or_sleeping_space_is_no_trouble(scene: Scene, hub: LocalHub) -> None:
    hub.set_space_stage(STUDIO, "PAUSED")
    scene.add_job(JobState.failed, release=True)
    scene.pass_time_until(lambda: scene.released)


def test_damaged_file_is_made_anew(scene: Scene) -> None:
    scene.pass_time(5)
    (scene.settings.home / "space.json").write_text("{")
    scene.start()
    scene.pass_time(5)
    assert isinstance(read_state(scene.settings.home), SpaceState)

"""What the page says and asks about money, from what the treasurer wrote down; no Hub is called here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.money.space_state import Release, ReleaseStage, SpaceState, keep_wish_file, write_state
from jobs.money.spending import Spending
from jobs.record.bill import Bill, read_bill, write_bill
from jobs.record.state import JobState
from tests.hub.accounts import ALICE
from tests.jobs.money.space_fixtures import STUDIO, Scene
from trainer.errors import RequestError
from trainer.settings import Settings


def spending(home: Path, *, token: str | None = ALICE, cap: float | None = None, **known: Any) -> Spending:
    """A copy with a GPU on a Space, of which so much is known."""
    environment: dict[str, Any] = {"SPACE_ID": STUDIO, "HF_TOKEN": token, "cost_cap": cap}
    if known:
        write_state(home, SpaceState(**known))
    return Spending(Settings(home=home, **environment), has_gpu=True)


T4: dict[str, Any] = {"flavor": "t4-small", "machine": "Nvidia T4 - small", "usd_per_hour": 0.4, "sleep_s": 7200}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_local_machine_and_free_space_cost_nothing(home: Path) -> None:
    local = Spending(Settings(home=home), has_gpu=True)
    free = spending(home, flavor="cpu-basic", usd_per_hour=0.0)
    for copy in (local, free):
        assert copy.plan(600).words == "no cost"
        assert copy.plan(600).notes == ()
        assert copy.conditions(None, release=False, seconds=600) is None
        assert not copy.at_stake()
    assert local.space_url is None


def test_plan_names_cost_machine_and_price(home: Path) -> None:
    plan = spending(home, **T4).plan(1800)
    assert plan.words == "about $0.20"
    assert plan.notes == ("Nvidia T4 - small costs $0.40 an hour, by the Hub's price list.",)
    assert spending(home, **T4).plan(None).words == "$0.40 an hour"


def test_missing_secret_is_said_before_money_is_spent(home: Path) -> None:
    copy = spending(home, token=None, **T4)
    assert "press New secret" in copy.plan(60).notes[-1]
    with pytest.raises(RequestError, match=r"Nothing was queued\. The secret HF_TOKEN is missing"):
        copy.conditions(None, release=True, seconds=60)
    assert copy.conditions(None, release=False, seconds=60) is not None


def test_gpu_of_a_space_costs_until_the_hub_says_otherwise(home: Path) -> None:
    copy = spending(home)
    assert copy.at_stake()
    assert copy.plan(60).words == "cost not known"
    assert "being asked" in copy.plan(60).notes[0]
    unlisted = spending(home, flavor="quantum-1", usd_per_hour=None)
    assert unlisted.plan(60).notes == ("The Hub's price list does not name quantum-1.",)


def test_estimate_above_the_limit_is_not_queued(home: Path) -> None:
    copy = spending(home, cap=0.5, **T4)
    bill = copy.conditions(None, release=True, seconds=1800)
    assert bill is not None
    assert (bill.limit_usd, bill.release, bill.usd_per_hour) == (0.5, True, 0.4)
    lower = copy.conditions(0.3, release=False, seconds=1800)
    assert lower is not None
    assert lower.limit_usd == 0.3
    for limit, seconds in ((0.1, 1800), (None, 2 * 3600), (99, 2 * 3600)):
        with pytest.raises(RequestError, match="Nothing was queued: it would cost about"):
            copy.conditions(limit, release=False, seconds=seconds)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_limit_that_is_no_amount_is_refused(home: Path, limit: float) -> None:
    with pytest.raises(RequestError, match="amount above 0"):
        spending(home, **T4).conditions(limit, release=False, seconds=60)


def test_limit_without_a_price_is_refused(home: Path) -> None:
    for copy in (spending(home), spending(home, flavor="t4-small", trouble="The Hub cannot be reached.")):
        with pytest.raises(RequestError, match=r"without a price the limit of \$1\.00 cannot be kept"):
            copy.conditions(1, release=False, seconds=60)


def test_nothing_is_queued_while_the_hardware_goes(home: Path) -> None:
    copy = spending(home, **T4, release=Release(stage=ReleaseStage.asked))
    with pytest.raises(RequestError, match="about to restart"):
        copy.conditions(None, release=False, seconds=60)
    with pytest.raises(RequestError, match="about to restart"):
        copy.check_open()


def test_hardware_that_the_hub_did_not_take_back_is_used_on_and_can_be_kept(home: Path) -> None:
    copy = spending(home, **T4, release=Release(stage=ReleaseStage.refused, tries=1))
    assert copy.conditions(None, release=False, seconds=60) is not None
    copy.keep_hardware()
    assert keep_wish_file(home).exists()


def test_card_shows_running_cost_limit_and_receipt(settings: Settings, photo_folder: Path) -> None:
    scene = Scene(settings, photo_folder)
    job = scene.add_job()
    copy = spending(settings.home, **T4, release=Release(note="It is given back when all is done."))
    bill = Bill(**{key: T4[key] for key in ("flavor", "machine", "usd_per_hour")}, limit_usd=0.5, release=True)
    running = bill.model_copy(update={"seconds": 1800, "counted_to": time.time(), "running": True})
    write_bill(scene.run(job), running)
    words = "$0.20 so far, on Nvidia T4 - small at $0.40 an hour. It stops at $0.50 and keeps what was learnt."
    assert copy.lines(job, scene.run(job)) == [words, "It is given back when all is done."]

    ended = replace(job, state=JobState.stopped, ended=scene.moment + 2700)
    write_bill(scene.run(job), running.model_copy(update={"seconds": 2700, "running": False, "at_limit": True}))
    lines = copy.lines(ended, scene.run(job))
    assert lines[0].startswith("Receipt: $0.30 for 45 min 00 s of training, on Nvidia T4 - small at $0.40 an hour.")
    assert lines[1] == "It reached its limit of $0.50: stopped, and what was learnt is kept."


def test_card_of_what_does_not_learn_says_that_nothing_is_kept_at_its_limit(
    settings: Settings, photo_folder: Path
) -> None:
    scene = Scene(settings, photo_folder)
    job = scene.add_job()
    scene.run(job).task_file.touch()
    bill = Bill(usd_per_hour=0.4, limit_usd=0.5, seconds=1800, counted_to=time.time(), running=True)
    write_bill(scene.run(job), bill)
    assert spending(settings.home).lines(job, scene.run(job))[0].endswith("It is cancelled at $0.50.")
    write_bill(scene.run(job), bill.model_copy(update={"at_limit": True}))
    cancelled = replace(job, state=JobState.cancelled)
    words = "It reached its limit of $0.50: cancelled. Resume begins it anew."
    assert words in spending(settings.home).lines(cancelled, scene.run(job))


def test_job_without_a_bill_says_nothing_of_money(settings: Settings, photo_folder: Path) -> None:
    scene = Scene(settings, photo_folder)
    job = scene.add_job()
    (scene.run(job).root / "cost.json").unlink()
    assert spending(settings.home, **T4).lines(job, scene.run(job)) == []
    assert read_bill(scene.run(job)) is None

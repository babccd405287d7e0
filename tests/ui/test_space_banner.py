"""The banner's words, and what a plan costs, on each kind of copy; the browser tests show them on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from jobs.money.admission import Admission
from jobs.money.space_state import Release, ReleaseStage, SpaceState, write_state
from jobs.money.spending import FREE_WORDS, Spending
from tests.hub.accounts import ALICE
from trainer.settings import Settings
from ui.space_banner import banner_html

T4: dict[str, Any] = {"flavor": "t4-small", "machine": "Nvidia T4 - small", "usd_per_hour": 0.4}


def banner(home: Path, *, token: str | None = ALICE, has_gpu: bool = True) -> str:
    environment: dict[str, Any] = {"SPACE_ID": "alice/studio", "HF_TOKEN": token}
    settings = Settings(home=home, **environment)
    spending = Spending(settings, has_gpu=has_gpu)
    return banner_html(spending, Admission(settings, spending))


def test_missing_secret_is_said_with_what_to_press(tmp_path: Path) -> None:
    words = banner(tmp_path, token=None)
    assert "The secret HF_TOKEN is missing" in words
    assert "press New secret" in words


def test_hardware_that_never_sleeps_is_said(tmp_path: Path) -> None:
    write_state(tmp_path, SpaceState(**T4))
    assert "It never goes to sleep by itself" in banner(tmp_path)


def test_trouble_and_release_are_shown(tmp_path: Path) -> None:
    release = Release(note="The hardware was given back at 14:02, confirmed by the Hub.")
    write_state(tmp_path, SpaceState(**T4, trouble="The Hub cannot be reached.", release=release))
    words = banner(tmp_path)
    assert "The Hub cannot be reached." in words
    assert "given back at 14:02" in words


@pytest.mark.parametrize(
    ("token", "words", "leads_to"),
    [
        (None, "for trying things out, at no cost", "?duplicate=true"),
        (ALICE, "your copy, without a GPU. It costs nothing", "/settings"),
    ],
    ids=["shared", "duplicate"],
)
def test_space_without_a_gpu_says_what_it_is_and_what_to_press(
    tmp_path: Path, token: str | None, words: str, leads_to: str
) -> None:
    shown = banner(tmp_path, token=token, has_gpu=False)
    assert words in shown
    assert f'href="{constants.ENDPOINT}/spaces/alice/studio{leads_to}"' in shown
    assert plan(tmp_path, SPACE_ID="alice/studio", HF_TOKEN=token) == FREE_WORDS


def test_own_machine_costs_nothing(tmp_path: Path) -> None:
    assert plan(tmp_path, HF_TOKEN=ALICE) == FREE_WORDS


def plan(home: Path, **environment: Any) -> str:
    """What an hour costs on a machine without a GPU."""
    spending = Spending(Settings(home=home, **environment), has_gpu=False)
    assert not spending.at_stake()  # the fields about money are hidden
    return spending.plan(3600).words


@pytest.mark.parametrize("has_gpu", [True, False])
def test_paid_hardware_is_said_to_cost_with_and_without_a_gpu(tmp_path: Path, has_gpu: bool) -> None:
    write_state(tmp_path, SpaceState(**T4))
    assert "costs $0.40 an hour" in banner(tmp_path, has_gpu=has_gpu)


def test_price_that_is_not_listed_is_said(tmp_path: Path) -> None:
    write_state(tmp_path, SpaceState(flavor="quantum-1", machine="quantum-1"))
    assert "could not be found out" in banner(tmp_path)


def test_hardware_can_be_kept_but_for_the_seconds_in_which_it_is_asked_for(tmp_path: Path) -> None:
    def state(stage: ReleaseStage) -> None:
        write_state(tmp_path, SpaceState(**T4, release=Release(stage=stage, note="In a minute.")))

    state(ReleaseStage.settling)
    assert "Keep it" in banner(tmp_path)
    state(ReleaseStage.asked)
    assert "Keep it" not in banner(tmp_path)
    state(ReleaseStage.refused)
    assert "Keep it" in banner(tmp_path)


@pytest.mark.parametrize(
    ("public", "environment", "words"),
    [
        (True, {}, "Here only alice can train, who pays for it."),
        (None, {}, "Here only alice can train, who pays for it."),
        (False, {}, "It is private: whom you let in can train at your cost."),
        (True, {"STUDIO_OPEN_TO_ALL": "1"}, "It is open to all (STUDIO_OPEN_TO_ALL)"),
    ],
)
def test_who_may_train_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: bool | None, environment: dict[str, str], words: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    write_state(tmp_path, SpaceState(**T4, public=public))
    assert words in " ".join(banner(tmp_path).split())

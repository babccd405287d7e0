"""The Space's own calls against the local Hub: what is asked, what is read back, and what each refusal is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from huggingface_hub import HfApi

from jobs.hub import client as hub_client
from jobs.hub.prices import read_price
from jobs.money.space import NO_SECRET, Hardware, OwnSpace
from tests.hub.accounts import ALICE, ALICE_READS, EXPIRED, REVOKED, TokenKind
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.money.space_fixtures import STUDIO, make_space, requests_for
from trainer.errors import HubError, HubTrouble
from trainer.settings import Settings

Client = Callable[[str | None], HfApi]


@pytest.fixture
def space(client: Client) -> OwnSpace:
    """Alice's Space on a T4, with its secret."""
    make_space(client(ALICE))
    return OwnSpace(STUDIO, ALICE)


def test_secret_is_the_spaces_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor never publishes with it, and a machine that is no Space never manages one."""
    monkeypatch.setenv("HF_TOKEN", ALICE)
    assert Settings().space_token is None
    monkeypatch.setenv("SPACE_ID", STUDIO)
    settings = Settings()
    assert settings.space_token == ALICE
    assert settings.own_hub_token is None


def test_hardware_and_sleep_timer_are_read(space: OwnSpace) -> None:
    assert space.look() == Hardware("t4-small", None)
    assert not space.look().free
    assert space.set_sleep(7200) == Hardware("t4-small", 7200)


def test_public_space_is_seen_without_a_secret_but_not_changed(space: OwnSpace) -> None:
    stranger = OwnSpace(STUDIO, None)
    assert stranger.look().flavor == "t4-small"
    for call in (stranger.give_back, lambda: stranger.set_sleep(7200)):
        with pytest.raises(HubError, match="HF_TOKEN is missing") as error:
            call()
        assert error.value.trouble is HubTrouble.sign_in


def test_private_space_without_a_secret_says_what_to_press(space: OwnSpace, client: Client) -> None:
    client(ALICE).update_repo_settings(STUDIO, private=True, repo_type="space")
    with pytest.raises(HubError) as error:
        OwnSpace(STUDIO, None).look()
    assert str(error.value) == NO_SECRET


@pytest.mark.parametrize("token", [ALICE, None, REVOKED])
def test_anybody_may_open_a_public_space(space: OwnSpace, token: str | None) -> None:
    assert OwnSpace(STUDIO, token).is_public()


@pytest.mark.parametrize("token", [ALICE, None, REVOKED])
def test_private_space_is_not_public(space: OwnSpace, client: Client, token: str | None) -> None:
    client(ALICE).update_repo_settings(STUDIO, private=True, repo_type="space")
    assert not OwnSpace(STUDIO, token).is_public()


def test_protected_space_hides_its_files_but_not_its_app(space: OwnSpace, client: Client) -> None:
    client(ALICE).update_repo_settings(STUDIO, visibility="protected", repo_type="space")
    assert space.is_public()


def test_no_answer_says_nothing_about_who_may_open_it(space: OwnSpace, hub: LocalHub) -> None:
    hub.order_fault(f"GET /api/spaces/{STUDIO}", times=FOREVER, status=503)
    with pytest.raises(HubError) as error:
        space.is_public()
    assert error.value.trouble is HubTrouble.later


def test_giving_back_is_read_back_and_not_asked_twice(space: OwnSpace, hub: LocalHub) -> None:
    assert space.give_back().free
    assert space.give_back().free
    assert len(requests_for(hub, "hardware")) == 1


@pytest.mark.fault(28)
def test_lost_answer_is_no_second_request(space: OwnSpace, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", drop=True, after_work=True)
    with pytest.raises(HubError) as error:
        space.give_back()
    assert error.value.trouble is HubTrouble.later
    assert space.give_back().free
    assert len(requests_for(hub, "hardware")) == 1


def test_answer_that_is_not_confirmed_is_no_success(space: OwnSpace, hub: LocalHub) -> None:
    hub.order_fault(f"POST .*{STUDIO}/hardware", status=200)
    with pytest.raises(HubError):
        space.give_back()
    hub.order_fault(f"POST .*{STUDIO}/sleeptime", status=200)
    with pytest.raises(HubError):
        space.set_sleep(7200)


@pytest.mark.parametrize(
    ("status", "trouble", "words"),
    [
        (401, HubTrouble.sign_in, "does not take the secret HF_TOKEN"),
        (402, HubTrouble.credits, "no credits"),
        (403, HubTrouble.forbidden, "may not manage this Space"),
        (404, HubTrouble.missing, "does not reach this Space"),
        (429, HubTrouble.later, "busy"),
        (500, HubTrouble.later, r"\(500\)"),
        (503, HubTrouble.later, r"\(503\)"),
    ],
)
def test_each_refusal_has_its_own_words(
    space: OwnSpace, hub: LocalHub, status: int, trouble: HubTrouble, words: str
) -> None:
    hub.order_fault(f"/api/spaces/{STUDIO}/", times=FOREVER, status=status)
    for call in (space.look, space.give_back, lambda: space.set_sleep(7200)):
        with pytest.raises(HubError, match=words) as error:
            call()
        assert error.value.trouble is trouble
        assert ALICE not in str(error.value)


@pytest.mark.fault(27)
def test_stall_ends_after_the_time_out(space: OwnSpace, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "TIMEOUT_S", 0.3)
    hub.order_fault(f"/api/spaces/{STUDIO}/", hang_s=20)
    with pytest.raises(HubError, match="did not answer") as error:
        space.look()
    assert error.value.trouble is HubTrouble.later


def test_long_wait_that_the_hub_asks_for_is_passed_on(space: OwnSpace, hub: LocalHub) -> None:
    hub.order_fault(f"/api/spaces/{STUDIO}/", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(HubError) as error:
        space.look()
    assert error.value.retry_after_s == 3600


@pytest.mark.parametrize("token", [ALICE_READS, EXPIRED, REVOKED])
def test_secret_that_may_not_write_changes_nothing(space: OwnSpace, hub: LocalHub, token: str) -> None:
    other = OwnSpace(STUDIO, token)
    with pytest.raises(HubError, match="HF_TOKEN"):
        other.give_back()
    assert not space.look().free


def test_secret_confined_to_this_space_is_enough(space: OwnSpace, hub: LocalHub) -> None:
    narrow = hub.new_token(kind=TokenKind.FINE_GRAINED, grants=["repo.write"], only_in=STUDIO)
    assert OwnSpace(STUDIO, narrow).set_sleep(7200).sleep_s == 7200
    assert OwnSpace(STUDIO, narrow).give_back().free


def test_price_is_the_hubs_own(client: Client, hub: LocalHub) -> None:
    price = read_price("t4-small")
    assert price is not None
    assert price.machine == "Nvidia T4 - small"
    assert price.usd_per_hour == pytest.approx(0.4)
    assert read_price("quantum-1") is None


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}])
def test_price_list_that_cannot_be_had_is_trouble(client: Client, hub: LocalHub, fault: dict[str, int]) -> None:
    hub.order_fault("/api/spaces/hardware", **fault)  # type: ignore[arg-type]
    with pytest.raises(HubError) as error:
        read_price("t4-small")
    assert error.value.trouble is HubTrouble.later

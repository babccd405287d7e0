"""Spaces through the real client: hardware, sleep, pause, secrets, duplicates, and who pays."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError

from tests.hub.accounts import ALICE, BOB
from tests.hub.fixtures import Client
from tests.hub.local_hub import LocalHub

STUDIO = "alice/studio"
SECRET = {"key": "HF_TOKEN", "value": "hush", "description": "to publish"}


@pytest.fixture
def alice(client: Client) -> HfApi:
    """Alice's client, with a Space that has an app, a secret and a variable."""
    alice = client(ALICE)
    alice.create_repo(
        STUDIO,
        repo_type="space",
        space_sdk="gradio",
        space_hardware=SpaceHardware.T4_SMALL,
        space_sleep_time=3600,
        space_secrets=[SECRET],
        space_variables=[{"key": "MODE", "value": "fast"}],
    )
    alice.upload_file(path_or_fileobj=b"print()", path_in_repo="app.py", repo_id=STUDIO, repo_type="space")
    return alice


def test_space_starts_on_the_hardware_that_was_asked_for(alice: HfApi) -> None:
    alice.get_space_runtime(STUDIO)
    runtime = alice.get_space_runtime(STUDIO)
    assert (runtime.stage, runtime.hardware, runtime.sleep_time) == ("RUNNING", "t4-small", 3600)
    assert alice.space_info(STUDIO).sdk == "gradio"


def test_space_without_an_app_does_not_run(alice: HfApi) -> None:
    alice.create_repo("alice/empty", repo_type="space", space_sdk="gradio")
    assert alice.get_space_runtime("alice/empty").stage == "NO_APP_FILE"


def test_hardware_changes_a_moment_after_it_was_requested(alice: HfApi) -> None:
    alice.get_space_runtime(STUDIO)
    asked = alice.request_space_hardware(STUDIO, SpaceHardware.A10G_SMALL, sleep_time=600)
    assert (asked.hardware, asked.requested_hardware) == ("t4-small", "a10g-small")
    settled = alice.get_space_runtime(STUDIO)
    assert (settled.hardware, settled.sleep_time) == ("a10g-small", 600)


def test_paid_hardware_never_sleeps_unless_told_to_and_free_hardware_after_two_days(alice: HfApi) -> None:
    assert alice.request_space_hardware(STUDIO, SpaceHardware.T4_MEDIUM).sleep_time is None
    assert alice.set_space_sleep_time(STUDIO, 900).sleep_time == 900
    assert alice.request_space_hardware(STUDIO, SpaceHardware.CPU_BASIC).sleep_time == 48 * 3600


def test_hardware_that_is_not_on_the_price_list_is_refused(alice: HfApi) -> None:
    with pytest.raises(HfHubHTTPError) as error:
        alice.request_space_hardware(STUDIO, SpaceHardware.RTX_PRO_6000)
    assert error.value.response.status_code == 400


def test_space_pauses_and_restarts(alice: HfApi) -> None:
    assert alice.pause_space(STUDIO).stage == "PAUSED"
    assert alice.get_space_runtime(STUDIO).stage == "PAUSED"
    assert alice.restart_space(STUDIO).stage == "RUNNING"


def test_test_can_show_a_space_in_any_stage(hub: LocalHub, alice: HfApi) -> None:
    hub.set_space_stage(STUDIO, "BUILD_ERROR")
    assert alice.get_space_runtime(STUDIO).stage == "BUILD_ERROR"
    hub.set_space_stage(STUDIO, None)
    assert alice.get_space_runtime(STUDIO).stage == "RUNNING"


def test_secrets_are_written_but_never_read(alice: HfApi) -> None:
    alice.add_space_secret(STUDIO, "OTHER", "hush hush")
    assert alice.get_space_secrets(STUDIO).keys() == {"HF_TOKEN", "OTHER"}
    assert alice.get_space_secrets(STUDIO)["HF_TOKEN"].description == "to publish"
    alice.delete_space_secret(STUDIO, "OTHER")
    assert alice.get_space_secrets(STUDIO).keys() == {"HF_TOKEN"}


def test_variables_are_written_and_read(alice: HfApi) -> None:
    alice.add_space_variable(STUDIO, "SIZE", "512", description="pixels")
    assert {key: item.value for key, item in alice.get_space_variables(STUDIO).items()} == {
        "MODE": "fast",
        "SIZE": "512",
    }
    assert alice.delete_space_variable(STUDIO, "MODE").keys() == {"SIZE"}


def test_duplicate_has_the_files_and_variables_but_not_the_secrets(alice: HfApi) -> None:
    url = alice.duplicate_repo(STUDIO, "acme/studio", repo_type="space", private=True)
    assert url.repo_id == "acme/studio"
    assert alice.file_exists("acme/studio", "app.py", repo_type="space")
    assert alice.get_space_variables("acme/studio").keys() == {"MODE"}
    assert alice.get_space_secrets("acme/studio") == {}
    assert alice.get_space_runtime("acme/studio").requested_hardware == "cpu-basic"
    assert alice.space_info("acme/studio").private


def test_duplicate_gets_the_secrets_and_the_hardware_that_come_with_it(alice: HfApi) -> None:
    alice.duplicate_repo(
        STUDIO,
        "alice/mine",
        repo_type="space",
        space_hardware=SpaceHardware.L4X1,
        space_secrets=[SECRET],
        space_variables=[{"key": "MODE", "value": "slow"}],
    )
    assert alice.get_space_secrets("alice/mine").keys() == {"HF_TOKEN"}
    assert alice.get_space_variables("alice/mine")["MODE"].value == "slow"
    assert alice.get_space_runtime("alice/mine").requested_hardware == "l4x1"
    with pytest.raises(HfHubHTTPError) as error:
        alice.duplicate_repo(STUDIO, "alice/mine", repo_type="space")
    assert error.value.response.status_code == 409


def test_change_of_the_copy_does_not_reach_the_original(alice: HfApi) -> None:
    alice.duplicate_repo(STUDIO, "alice/mine", repo_type="space")
    alice.upload_file(path_or_fileobj=b"2", path_in_repo="new.txt", repo_id="alice/mine", repo_type="space")
    alice.add_space_variable("alice/mine", "NEW", "1")
    assert not alice.file_exists(STUDIO, "new.txt", repo_type="space")
    assert alice.get_space_variables(STUDIO).keys() == {"MODE"}


def test_who_does_not_pay_gets_no_space_but_a_static_one(alice: HfApi, client: Client) -> None:
    bob = client(BOB)
    for create in (
        lambda: bob.create_repo("bob/x", repo_type="space", space_sdk="gradio"),
        lambda: bob.duplicate_repo(STUDIO, "bob/x", repo_type="space"),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            create()
        assert error.value.response.status_code == 402
    assert bob.create_repo("bob/x", repo_type="space", space_sdk="static").repo_id == "bob/x"


def test_others_cannot_touch_a_space(alice: HfApi, client: Client) -> None:
    bob = client(BOB)
    for call in (
        lambda: bob.pause_space(STUDIO),
        lambda: bob.get_space_secrets(STUDIO),
        lambda: bob.request_space_hardware(STUDIO, SpaceHardware.T4_SMALL),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert error.value.response.status_code == 403


def test_price_lists_are_read(client: Client) -> None:
    for prices in (client(ALICE).list_spaces_hardware(), client(None).list_jobs_hardware()):
        gpu = next(machine for machine in prices if machine.name == "t4-small")
        assert gpu.accelerator is not None
        assert gpu.accelerator.model == "T4"
        assert gpu.unit_cost_usd * 60 == pytest.approx(0.4)

"""Where a job should run: offered only where it can, priced by the Hub, refused in words where it cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import pytest
from huggingface_hub import HfApi
from starlette.requests import Request

from app import build_services
from jobs.hub.tokens import TokenDesk
from jobs.record.remote_run import Stage, read_remote, write_remote
from jobs.record.state import JobState
from jobs.record.store import Job, now
from jobs.remote.hardware import PriceList
from jobs.remote.offer import RemoteOffer, record_of
from jobs.runs.speed import speeds_of
from tests.engine.conftest import small_recipe
from tests.hub.accounts import ALICE
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.made_by_hand import measured
from tests.ui.conftest import VISITOR
from tests.ui.visits import ON_SPACE, scope
from trainer.bases import BaseTraits
from trainer.errors import HubError, RequestError, StudioError
from trainer.machine.devices import cpu
from trainer.photos.intake import take_folder
from trainer.settings import Settings
from trainer.whole_files import write_whole
from ui.owners import SINGLE_OWNER
from ui.resuming import resume
from ui.services import Services
from ui.train.memory_plan import memory_there
from ui.train.money_fields import MoneyWish
from ui.train.place_panel import REMOTE, show_machines
from ui.train.remote import prepare_again, prepare_remote

T4_USD, LIMIT_H = 0.4, 3
ON_HUB = Path("alice/tiny")
Client = Callable[[str | None], HfApi]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def offering(client: Client, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The services of a laptop with a token and an image."""
    monkeypatch.setenv("HF_TOKEN", ALICE)
    monkeypatch.setenv("STUDIO_JOBS_IMAGE", "an/image")
    services = build_services(Settings(home=home), [cpu()])
    yield services
    services.jobs.close()


def remote_of(services: Services) -> RemoteOffer:
    assert services.remote is not None
    return services.remote


@pytest.mark.parametrize(
    ("environment", "offered"),
    [
        ({}, False),
        ({"HF_TOKEN": ALICE}, False),
        ({"STUDIO_JOBS_IMAGE": "an/image"}, False),
        ({"HF_TOKEN": ALICE, "STUDIO_JOBS_IMAGE": "an/image"}, True),
        ({"HF_TOKEN": ALICE, "STUDIO_JOBS_IMAGE": "an/image", "STUDIO_OWNERS": "browser"}, False),
        ({"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_ID": "x", "OAUTH_SCOPES": "openid profile"}, False),
        ({"SYSTEM": "spaces", "SPACE_ID": "a/b", "OAUTH_CLIENT_ID": "x", "OAUTH_SCOPES": "openid jobs"}, True),
    ],
)
def test_choice_is_offered_only_where_an_image_and_a_token_that_may_pay_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], offered: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    services.jobs.close()
    assert (services.remote is not None) is offered


def test_machines_come_with_their_prices_and_the_cheapest_gpu_is_proposed(offering: Services) -> None:
    machines, note = show_machines(remote_of(offering), REMOTE)
    assert machines["value"] == "t4-small"
    assert ("Nvidia T4 - small, 16 GB: $0.40 an hour", "t4-small") in machines["choices"]
    assert note["visible"]
    assert not show_machines(remote_of(offering), "This machine")[0]["visible"]


def test_cost_is_told_once_it_was_measured_and_its_limit_from_the_start(offering: Services, home: Path) -> None:
    remote, recipe = remote_of(offering), small_recipe(ON_HUB, "textual-inversion")
    first = remote.quote(recipe, "t4-small")
    assert (first.seconds, first.usd) == (None, None)
    assert first.most_usd == pytest.approx(T4_USD * LIMIT_H)
    write_whole(home / "speeds-t4-small.json", '{"textual-inversion alice/tiny 64px": [1.0, 60.0]}')
    assert remote.quote(recipe, "t4-small").usd == pytest.approx(72 / 3600 * T4_USD)
    assert remote.quote(recipe, "cpu-basic").seconds is None
    write_whole(home / "speeds-t4-small.json", '{"textual-inversion alice/tiny 64px": [1000.0, 60.0]}')
    longer = remote.quote(recipe, "t4-small")  # it is ended at the limit then, which is no matter of money
    assert longer.seconds is not None
    assert longer.seconds > longer.limit_s == first.limit_s


def test_memory_is_told_before_anybody_pays_for_too_little(offering: Services, home: Path) -> None:
    spare = {"precision": "auto", "optimizer": "adamw-8bit", "batch_size": 2}
    remote, recipe = remote_of(offering), small_recipe(ON_HUB, "dreambooth", **spare)
    traits = BaseTraits("stable-diffusion-xl", 1024, "epsilon", "abc", text_width=2048)
    on_t4 = memory_there(remote.quote(recipe, "t4-small"), recipe, traits)
    assert on_t4.words == "at least 27.6 GB of GPU memory"
    assert on_t4.warning.startswith("The GPU has 16.0 GB of memory, which is too little: switch on gradient checkpoint")
    assert not memory_there(remote.quote(recipe, "a100-large"), recipe, traits).warning
    assert not memory_there(remote.quote(recipe, "cpu-basic"), recipe, traits).words
    speeds_of(home, "t4-small").memory.learn(recipe, measured(12_000_000_000, "Tesla T4"))
    assert memory_there(remote.quote(recipe, "t4-small"), recipe, traits).words == "about 12.0 GB of GPU memory"


def test_folder_of_this_machine_cannot_be_trained_there(offering: Services, tiny_model: Path) -> None:
    with pytest.raises(RequestError, match="does not have this base"):
        remote_of(offering).quote(small_recipe(tiny_model, "textual-inversion"), "t4-small")


def test_machine_that_is_not_offered_is_refused(offering: Services) -> None:
    with pytest.raises(RequestError, match="one of the machines"):
        remote_of(offering).quote(small_recipe(ON_HUB, "textual-inversion"), "--flavor")


def test_prices_that_cannot_be_read_are_said_to_be(hub: LocalHub, client: Client) -> None:
    hub.order_fault("/api/jobs/hardware", times=FOREVER, status=503)
    with pytest.raises(HubError, match=r"\(503\)"):
        PriceList().flavors()


@pytest.mark.parametrize(
    ("person", "lasts_s", "words"),
    [("1", 600, "ends in"), ("1", 6 * 3600, "starting"), (None, 0, "Sign in first")],
    ids=["too-short", "long-enough", "nobody"],
)
def test_sign_in_must_outlast_the_job(
    client: Client,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    person: str | None,
    lasts_s: int,
    words: str,
) -> None:
    """Long enough, it gets as far as the process that follows Jobs, which does not run here."""
    for name, value in {**ON_SPACE, "OAUTH_SCOPES": "openid jobs"}.items():
        monkeypatch.setenv(name, value)
    services = build_services(Settings(home=home), [cpu()])
    signed_in = scope(sub=person, expires_in_s=lasts_s)
    if person:
        signed_in["session"]["oauth_info"]["access_token"] = ALICE
    visitor, recipe = gr.Request(Request(signed_in)), small_recipe(ON_HUB, "textual-inversion")
    with pytest.raises(StudioError, match=words):
        prepare_remote(services, recipe, "t4-small", visitor, MoneyWish())
    with pytest.raises(StudioError, match=words):
        prepare_again(services, record_of(remote_of(services).quote(recipe, "t4-small"), "alice"), visitor)
    services.jobs.close()


def test_what_a_job_may_cost_ends_it_there(offering: Services, home: Path) -> None:
    recipe, remote = small_recipe(ON_HUB, "textual-inversion"), remote_of(offering)
    whole = remote.quote(recipe, "t4-small")
    cheaper = remote.quote(recipe, "t4-small", limit_usd=whole.most_usd / 2)
    assert (cheaper.limit_s, cheaper.most_usd) == (whole.limit_s // 2, pytest.approx(whole.most_usd / 2))
    assert remote.quote(recipe, "t4-small", limit_usd=whole.most_usd * 2) == whole
    with pytest.raises(RequestError, match=r"\$0\.01 pays for 1 min.* too short"):
        remote.quote(recipe, "t4-small", limit_usd=0.01)
    write_whole(home / "speeds-t4-small.json", '{"textual-inversion alice/tiny 64px": [90.0, 20.0]}')
    takes_s = remote.quote(recipe, "t4-small").seconds
    assert takes_s is not None
    with pytest.raises(RequestError, match="too short"):  # it would stop before its end, to keep what it has learnt
        remote.quote(recipe, "t4-small", limit_usd=T4_USD * (takes_s + 30) / 3600)
    with pytest.raises(RequestError, match="not given back"):
        prepare_remote(offering, recipe, "t4-small", VISITOR, MoneyWish(release=True))


def test_job_there_keeps_no_device_of_this_machine_and_its_cost_grows_over_all_starts(
    offering: Services, photo_folder: Path
) -> None:
    recipe = small_recipe(ON_HUB, "textual-inversion")
    record = record_of(remote_of(offering).quote(recipe, "t4-small"), "alice")
    job = offering.jobs.submitting.submit(SINGLE_OWNER, recipe, lambda f: take_folder(photo_folder, f), remote=record)
    assert offering.jobs.ahead() == (0, 0.0)
    view = offering.jobs.view(job.id, SINGLE_OWNER)
    assert (view.place, view.remote, view.where) == (None, record, "Hugging Face Jobs")
    assert record.cost_usd(now()) == 0
    assert record.model_copy(update={"began": 1000.0}).cost_usd(2800.0) == pytest.approx(0.2)
    ended = record.model_copy(update={"began": 1000.0, "ended": 2800.0})
    assert ended.again(asked=True).cost_usd(now()) == ended.cost_usd(now()) == pytest.approx(0.2)
    assert ended.again(asked=True).model_copy(update={"began": 4000.0}).cost_usd(5800.0) == pytest.approx(0.4)


def sent_before(services: Services, photo_folder: Path, **changes: object) -> Job:
    """A job whose start at Hugging Face is over."""
    recipe = small_recipe(ON_HUB, "textual-inversion")
    record = record_of(remote_of(services).quote(recipe, "t4-small"), "alice")
    record = record.model_copy(update={"stage": Stage.over, "began": 1000.0, "ended": 2800.0, **changes})
    job = services.jobs.submitting.submit(SINGLE_OWNER, recipe, lambda f: take_folder(photo_folder, f), remote=record)
    services.jobs.cancel(job.id, SINGLE_OWNER)
    return services.jobs.job(job.id, SINGLE_OWNER)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose tokens were handed to the process that follows Jobs, which does not run here."""
    owners = list[str]()
    monkeypatch.setattr(TokenDesk, "hand_over_for_training", lambda _desk, owner, _token: owners.append(owner))
    return owners


def test_resume_at_hugging_face_takes_todays_price_and_costs_no_more_than_was_agreed(
    offering: Services, photo_folder: Path, handed: list[str]
) -> None:
    job = sent_before(offering, photo_folder, usd_per_hour=0.2, limit_s=7200, namespace="another")
    resume(offering, job.id, SINGLE_OWNER, VISITOR)
    record = offering.jobs.remote_run(job.id)
    assert record is not None
    assert (record.start, record.stage, record.namespace) == (2, Stage.new, "alice")
    assert (record.usd_per_hour, record.limit_s) == (T4_USD, 3600)
    assert record.cost_usd(now()) == pytest.approx(0.1)  # the first start at its own price
    assert handed == [SINGLE_OWNER]
    assert offering.jobs.job(job.id, SINGLE_OWNER).state is JobState.waiting


def test_resume_at_hugging_face_of_what_was_never_sent_is_priced_anew(
    offering: Services, photo_folder: Path, handed: list[str]
) -> None:
    job = sent_before(offering, photo_folder, stage=Stage.new, began=None, ended=None, usd_per_hour=4.0)
    resume(offering, job.id, SINGLE_OWNER, VISITOR)
    record = offering.jobs.remote_run(job.id)
    assert record is not None
    assert (record.start, record.usd_per_hour, record.limit_s) == (1, T4_USD, LIMIT_H * 3600)
    assert handed == [SINGLE_OWNER]


@pytest.mark.parametrize("stage", [Stage.new, Stage.sending])
def test_resume_of_what_was_torn_off_before_it_was_sent_again_is_priced_anew_for_all_of_its_limit(
    offering: Services, photo_folder: Path, handed: list[str], stage: Stage
) -> None:
    price = {"rest_s": 9000, "limit_s": 10_800, "usd_per_hour": 0.2, "namespace": "acme"}
    job = sent_before(offering, photo_folder, began=None, ended=None, **price)
    run = offering.jobs.run_folder(job.id)
    before = read_remote(run)
    assert before is not None
    write_remote(run, before.model_copy(update={"stage": stage}))
    resume(offering, job.id, SINGLE_OWNER, VISITOR)
    record = offering.jobs.remote_run(job.id)
    assert record is not None
    assert (record.stage, record.usd_per_hour, record.timeout_s) == (stage, T4_USD, 5400)
    assert record.namespace == ("acme" if stage is Stage.sending else "alice")  # whose bucket holds the photos
    assert handed == [SINGLE_OWNER]


def test_resume_of_a_job_that_may_still_run_only_goes_on_to_follow_it(
    offering: Services, photo_folder: Path, handed: list[str]
) -> None:
    job = sent_before(offering, photo_folder)
    run = offering.jobs.run_folder(job.id)
    before = read_remote(run)
    assert before is not None
    write_remote(run, before.model_copy(update={"stage": Stage.sent, "usd_per_hour": 0.2}))
    resume(offering, job.id, SINGLE_OWNER, VISITOR)
    assert read_remote(run) == before.model_copy(update={"stage": Stage.sent, "usd_per_hour": 0.2})
    assert handed == [SINGLE_OWNER]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"usd_per_hour": 0.001}, "are too little"),
        ({"flavor": "k80-tiny", "machine": "A K80"}, "does not offer A K80 any more"),
    ],
)
def test_resume_at_hugging_face_that_cannot_be_paid_any_more_is_refused_and_queues_nothing(
    offering: Services, photo_folder: Path, handed: list[str], changes: dict[str, object], words: str
) -> None:
    job = sent_before(offering, photo_folder, **changes)
    with pytest.raises(RequestError, match=words):
        resume(offering, job.id, SINGLE_OWNER, VISITOR)
    assert not handed
    assert offering.jobs.job(job.id, SINGLE_OWNER).state is JobState.cancelled


def test_resume_at_hugging_face_is_refused_where_nobody_follows_jobs(
    offering: Services, photo_folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sent_before(offering, photo_folder)
    monkeypatch.delenv("HF_TOKEN")
    services = build_services(Settings(home=home), [cpu()])
    with pytest.raises(RequestError, match="not set up here"):
        resume(services, job.id, SINGLE_OWNER, VISITOR)
    assert services.jobs.job(job.id, SINGLE_OWNER).state is JobState.cancelled
    resume(services, job.id, SINGLE_OWNER, VISITOR, here=True)
    services.jobs.close()


def test_space_runs_its_own_image_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().jobs_image is None
    monkeypatch.setenv("SPACE_ID", "alice/studio")
    assert Settings().jobs_image == "hf.co/spaces/alice/studio"
    monkeypatch.setenv("STUDIO_JOBS_IMAGE", "an/image")
    assert Settings().jobs_image == "an/image"

"""Who may train at a Space owner's cost: every way in is asked, the page's handlers themselves, not their buttons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from huggingface_hub import HfApi
from starlette.requests import Request

from app import build_services
from jobs.money.space_state import ReleaseStage, SpaceState, keep_wish_file, write_state
from jobs.record.store import Job
from tests.hub.accounts import ALICE, BOB
from tests.ui.conftest import in_a_loop, trained_job
from tests.ui.visits import ON_SPACE, scope
from trainer.errors import RequestError
from trainer.machine.devices import Device, cpu
from trainer.settings import Settings
from ui.layout import build_page
from ui.services import Services

Client = Callable[[str | None], HfApi]
GPU = Device(0, "Tesla T4")
T4: dict[str, Any] = {"flavor": "t4-small", "machine": "Nvidia T4 - small", "usd_per_hour": 0.4, "public": True}
NOBODY = {"token": "hf_of_nobody"}


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Services]]:
    """A Space of alice's with a T4, or of an organisation, of which so much is known."""

    def make(known: dict[str, Any] | None = T4, device: Device = GPU, **environment: str) -> Services:
        for name, value in {**ON_SPACE, **environment}.items():
            monkeypatch.setenv(name, value)
        if known is not None:
            write_state(tmp_path / "home", SpaceState(**known))
        made.append(build_services(Settings(), [device]))
        return made[-1]

    made: list[Services] = []
    yield make
    for services in made:
        services.jobs.close()


def visit(services: Services, name: str | None = None, **signed_in: Any) -> None:
    """Somebody asks to be let in."""
    services.admit(request_of(name, **signed_in))


def request_of(name: str | None = None, **signed_in: Any) -> gr.Request:
    return gr.Request(Request(scope(sub=name, name=name or "", **signed_in)))


def test_public_space_on_paid_hardware_is_for_its_owner(space: Callable[..., Services]) -> None:
    services = space()
    visit(services, "alice")
    with pytest.raises(RequestError) as stranger:
        visit(services, "bob", **NOBODY)
    assert str(stranger.value) == (
        "This Space is public and runs on hardware that alice pays for, so only alice may train here. "
        "Duplicate the Space to train on hardware of your own."
    )
    with pytest.raises(RequestError, match="If you are alice, sign in"):
        visit(services)


def test_sign_in_that_has_ended_is_none(space: Callable[..., Services]) -> None:
    with pytest.raises(RequestError, match="sign in"):
        visit(space(), "alice", expires_in_s=-1)


def test_author_is_who_the_hub_names(space: Callable[..., Services]) -> None:
    services = space(SPACE_AUTHOR_NAME="carol")
    visit(services, "carol")
    with pytest.raises(RequestError, match="only carol may"):
        visit(services, "alice", **NOBODY)


def test_organisations_space_is_for_who_manages_it(
    space: Callable[..., Services],
    client: Client,
) -> None:
    """Alice writes to one of her organisations, contributes to another, and only reads the third."""
    roles = {org["name"]: org["roleInOrg"] for org in client(ALICE).whoami()["orgs"]}
    assert {"contributor", "read"} < set(roles.values())
    for organisation, role in roles.items():
        services = space(SPACE_AUTHOR_NAME=organisation)
        if role in ("admin", "write"):
            visit(services, "alice", token=ALICE)
        else:
            with pytest.raises(RequestError, match=f"only {organisation} may"):
                visit(services, "alice", token=ALICE)
        with pytest.raises(RequestError, match=f"only {organisation} may"):
            visit(services, "bob", token=BOB)


@pytest.mark.parametrize(
    ("known", "device", "environment"),
    [
        ({**T4, "public": False}, GPU, {}),
        ({"flavor": "cpu-basic", "usd_per_hour": 0.0}, cpu(), {}),
        ({"flavor": "zero-a10g", "usd_per_hour": 0.0}, GPU, {}),
        (None, cpu(), {}),
        (T4, GPU, {"STUDIO_OPEN_TO_ALL": "1"}),
    ],
    ids=["private", "cpu", "zero", "cpu-not-yet-known", "opened-by-its-owner"],
)
def test_other_copies_are_open(
    space: Callable[..., Services], known: dict[str, Any] | None, device: Device, environment: dict[str, str]
) -> None:
    visit(space(known, device, **environment))


def test_own_machine_is_open(tmp_path: Path) -> None:
    services = build_services(Settings(), [GPU])
    visit(services)
    services.jobs.close()


@pytest.mark.parametrize("known", [None, {**T4, "public": None}], ids=["nothing", "hardware"])
def test_what_is_not_known_yet_is_not_open_but_to_its_owner(
    space: Callable[..., Services], known: dict[str, Any] | None
) -> None:
    services = space(known)
    visit(services, "alice")
    with pytest.raises(RequestError, match=r"not said yet whether this Space is public.*in a minute"):
        visit(services)


def test_owner_without_a_sign_in_is_told_the_ways(space: Callable[..., Services]) -> None:
    with pytest.raises(RequestError, match="make the Space private, or set STUDIO_OPEN_TO_ALL to 1"):
        visit(space(STUDIO_OWNERS="single"))


def handler_calls(services: Services, job: Job) -> list[tuple[Any, ...]]:
    """Each handler that spends with what it takes, called as a program calls them, past every button."""
    page = in_a_loop(lambda: build_page(services))
    handlers = {function.fn.__qualname__: function for function in page.fns.values() if function.fn}
    submit, add = handlers["TrainTab._submit"], handlers["AddPanel._add"]
    values = {"add-hub": "bob/style", "add-name": "style"}
    return [
        (submit.fn, {component: component.value for component in submit.inputs}),
        (handlers["JobsTab._act"].fn, 20, gr.EventData(None, {"action": "resume", "job": job.id})),
        (handlers["JobsTab._act"].fn, 20, gr.EventData(None, {"action": "resume-here", "job": job.id})),
        (add.fn, {component: values.get(component.elem_id, component.value) for component in add.inputs}),
        (handlers["ExtractPanel._extract"].fn, job.id, 16),
        (handlers["SpaceBanner._keep"].fn,),
    ]


@pytest.mark.parametrize(
    ("stage", "environment", "words"),
    [
        (ReleaseStage.settling, {}, "only alice may train"),
        (ReleaseStage.asked, {"STUDIO_OPEN_TO_ALL": "1"}, "Too late: the hardware is being given back"),
    ],
    ids=["stranger", "closing"],
)
def test_every_handler_that_spends_asks_first(
    space: Callable[..., Services],
    tiny_model: Path,
    photo_folder: Path,
    stage: ReleaseStage,
    environment: dict[str, str],
    words: str,
) -> None:
    release = {"stage": stage, "note": "In a minute."}
    services = space({**T4, "release": release}, STUDIO_OWNERS="browser", **environment)  # drawn without a sign-in
    bob = request_of()
    job = trained_job(services, services.owners.of(bob), tiny_model, photo_folder)
    services.jobs.cancel(job.id, job.owner)
    for handler, *values in handler_calls(services, job):
        with pytest.raises(gr.Error, match=words):
            handler(*values, bob)
    assert [view.job.state.value for view in services.jobs.everybodys_views()] == ["cancelled"]
    assert not keep_wish_file(Settings().home).exists()

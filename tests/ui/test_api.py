"""The studio over HTTP: what gradio_client can do with the app as it runs, and what it may not name."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from starlette.requests import Request

from app import build_services
from tests.app_process import App
from tests.ui.conftest import in_a_loop, trained_job
from tests.waiting import wait_until
from trainer.errors import RecipeError, RequestError
from trainer.machine.devices import cpu
from trainer.settings import Owners, Settings
from ui.api.training import TrainingApi
from ui.api.turns import EACH, Turns
from ui.api.uploaded import uploaded_files
from ui.layout import build_page
from ui.owners import COOKIE
from ui.services import Services
from ui.train.visitors_recipe import visitors_recipe

RECIPE = "{method: textual-inversion, name: red-mug, kind: object, class_word: mug, steps: 3, preview_count: 1}"
FIELDS: dict[str, Any] = {"method": "textual-inversion", "name": "red-mug", "kind": "object"}


def client(studio: App, headers: dict[str, str] | None = None) -> Client:
    return Client(studio.url, headers=headers, verbose=False, analytics_enabled=False)


def visitor(studio: App) -> tuple[Client, dict[str, str]]:
    """A client that is an owner of its own, and the headers that make it one."""
    headers = {"Cookie": f"{COOKIE}={secrets.token_hex(24)}"}
    return client(studio, headers), headers


@pytest.mark.fault(40)
def test_client_trains_and_draws_what_is_its_own(app: Callable[..., App], photo_folder: Path) -> None:
    studio = app(STUDIO_EXAMPLE="0", STUDIO_OWNERS="browser")
    studio.start()
    anna, headers = visitor(studio)
    bob, others_headers = visitor(studio)
    photos = [handle_file(file) for file in sorted(photo_folder.iterdir())]
    check_up = anna.predict(photos=photos, api_name="/check_photos")
    assert (check_up["set"], len(check_up["photos"])) == ("ready", 5)
    job = anna.predict(recipe=RECIPE, photos=photos, api_name="/train")
    assert job["state"] in ("waiting", "running")

    def now(job_id: str) -> dict[str, Any]:
        return anna.predict(job=job_id, api_name="/job")

    wait_until(lambda: now(job["id"])["state"] == "finished", "it is trained", every_s=0.5)
    done = now(job["id"])
    assert (done["step"], done["recipe"]["steps"], done["recipe"]["class_word"]) == (3, 3, "mug")
    made = anna.predict(prompt="a <red-mug>", concepts={job["id"]: 0.9}, steps=2, count=2, seed=7, api_name="/generate")
    assert (len(made["pictures"]), made["seed"]) == (2, 7)
    weights = next(file for file in done["files"] if file.endswith("red-mug.safetensors"))
    for file in (weights, *made["pictures"]):
        assert httpx.get(f"{studio.url}/{file}", headers=headers).is_success
        assert httpx.get(f"{studio.url}/{file}", headers=others_headers).status_code == 404

    with pytest.raises(AppError, match=f"one that it makes up: {COOKIE}="):
        client(studio).predict(api_name="/jobs")
    assert bob.predict(api_name="/jobs") == []
    _check_what_is_closed(studio.url, headers)
    for name in ("/job", "/stop", "/cancel", "/resume", "/delete"):
        with pytest.raises(AppError, match="There is no such job"):
            bob.predict(job=job["id"], api_name=name)
    with pytest.raises(AppError, match="is not here any more"):
        bob.predict(prompt="a <red-mug>", concepts={job["id"]: 1}, api_name="/generate")
    with pytest.raises(AppError, match=r"name: use .*; steps: should be a valid integer"):
        anna.predict(recipe=FIELDS | {"name": "Red Mug", "steps": "many"}, photos=photos, api_name="/train")
    with pytest.raises(AppError, match=r"^width: Input should be a valid integer"):
        anna.predict(prompt="a mug", width="wide", api_name="/generate")
    with pytest.raises(AppError, match="handle_file"):
        anna.predict(recipe=RECIPE, photos=[{"path": "/etc/hostname"}] * 3, api_name="/train")
    elsewhere = {"path": "https://example.org/huge.jpg", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="Files of other addresses are not taken"):
        anna.predict(photos=[elsewhere], api_name="/check_photos")
    with pytest.raises(AppError, match="there is nothing to resume"):
        anna.predict(job=job["id"], api_name="/resume")
    again = anna.predict(recipe=done["recipe"] | {"steps": 30_000}, photos=photos, api_name="/train")
    anna.predict(job=again["id"], api_name="/cancel")
    wait_until(lambda: now(again["id"])["state"] == "cancelled", "it is cancelled", every_s=0.5)
    assert anna.predict(job=job["id"], api_name="/delete") == job["id"]
    assert [left["id"] for left in anna.predict(api_name="/jobs")] == [again["id"]]
    anna.close()
    bob.close()


def _check_what_is_closed(url: str, headers: dict[str, str]) -> None:
    """Ways around the page that gradio has by itself."""
    stranger = headers | {"Origin": "https://evil.example"}
    assert httpx.post(f"{url}/gradio_api/call/jobs", json={"data": []}, headers=stranger).status_code == 403
    beside_the_queue = httpx.post(f"{url}/gradio_api/run/generate", json={"data": ["a mug"]}, headers=headers)
    assert (beside_the_queue.status_code, "queue" in beside_the_queue.text) == (404, True)
    assert httpx.get(f"{url}/gradio_api/file=https://example.org/", headers=headers).status_code == 404
    monitoring = httpx.get(f"{url}/monitoring/summary", headers=headers)
    assert monitoring.status_code == 403
    field = httpx.post(f"{url}/gradio_api/upload", files={"files": (None, b"x" * 100)}, headers=headers)
    assert (field.status_code, field.text) == (400, "An upload holds files alone.")


def test_names_are_these_and_no_event_of_the_page_is_among_them(services: Services) -> None:
    page = in_a_loop(lambda: build_page(services))
    assert sorted(page.get_api_info()["named_endpoints"]) == [
        *("/cancel", "/check_photos", "/delete", "/generate", "/job", "/jobs", "/resume", "/stop", "/train")
    ]
    assert not page.get_api_info()["unnamed_endpoints"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"base": "/etc"}, "not a folder or a file"),
        ({"base": "nobody/none/other"}, "not a folder or a file"),
        ({"method": "dreambooth", "prior_weight": 1, "class_images_dir": "/etc"}, "class_images_dir"),
    ],
)
def test_visitor_may_name_nothing_of_this_machine(services: Services, named: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        visitors_recipe(services, FIELDS | named, None)


def test_visitor_who_may_train_nothing_here_resumes_nothing(
    services: Services, tiny_model: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RequestError("duplicate it")

    request = visitors_request()
    job = trained_job(services, services.owners.of(request), tiny_model, photo_folder).id
    monkeypatch.setattr(services.admission, "check", refuse)
    with pytest.raises(RequestError, match="duplicate it"):
        TrainingApi(services).resume(job, request)


def test_one_owner_has_so_many_requests_under_way_and_no_more(services: Services) -> None:
    anna, bob, turns = visitors_request(), visitors_request(), Turns(services.owners)

    def nested(depth: int, request: gr.Request) -> str:
        if depth > 1:
            return call(depth - 1, request)
        with pytest.raises(RequestError, match="Too many requests are under way"):
            call(1, request)
        return others(bob)

    def answered(request: gr.Request) -> str:
        return "answered"

    call, others = turns.taken_by(nested), turns.taken_by(answered)
    assert call(EACH, anna) == "answered"
    assert call(EACH, anna) == "answered"  # all of them are over


def test_owner_of_the_machine_may_name_own_folders(tmp_path: Path, tiny_model: Path) -> None:
    services = build_services(Settings(home=tmp_path / "home", owners=Owners.single), [cpu()])
    values = FIELDS | {"base": str(tiny_model), "method": "dreambooth", "prior_weight": 1, "class_images_dir": "/etc"}
    recipe = visitors_recipe(services, values, None)
    with pytest.raises(RecipeError, match="/nowhere is not a folder"):
        visitors_recipe(services, values | {"class_images_dir": "/nowhere"}, None)
    services.jobs.close()
    assert (recipe.base, recipe.resolution_px) == (str(tiny_model), 64)


def test_recipe_of_a_page_without_what_no_preset_knows_is_told_whole(services: Services) -> None:
    with pytest.raises(RecipeError, match="method: is required; kind: is required"):
        visitors_recipe(services, {"name": "red-mug"}, None)


@pytest.mark.parametrize("sent", ["/etc/hostname", {"path": "/etc/hostname"}, {"path": "a\0b"}, {"path": 1}, {}, None])
def test_files_are_only_those_that_were_uploaded(sent: Any) -> None:
    with pytest.raises(RequestError, match="handle_file"):
        uploaded_files([sent])


def test_way_out_of_the_uploads_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, aside = tmp_path / "uploads", tmp_path / "aside.jpg"
    uploads.mkdir()
    aside.touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    assert get_upload_folder() == str(uploads)
    (uploads / "photo.jpg").touch()
    (uploads / "link.jpg").symlink_to(aside)
    assert uploaded_files([{"path": str(uploads / "photo.jpg")}]) == [uploads / "photo.jpg"]
    for way in (uploads / ".." / "aside.jpg", uploads / "link.jpg", uploads):
        with pytest.raises(RequestError, match="handle_file"):
            uploaded_files([{"path": str(way)}])


def test_refused_photos_leave_nothing(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "text.jpg").write_text("no photo")
    request = visitors_request()
    with pytest.raises(RequestError, match="At least 3 different photos"):
        TrainingApi(services).train(FIELDS, [{"path": str(tmp_path / "text.jpg")}], request)
    owner = services.owners.of(request)
    assert services.jobs.views(owner) == []
    assert list(services.drafts.folder(owner, services.drafts.new_id()).parent.glob("*")) == []


def test_files_of_a_whole_model_are_told_in_its_folders(
    services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    request = visitors_request()
    job = trained_job(services, services.owners.of(request), tiny_model, photo_folder)
    artifact = services.jobs.run_folder(job.id).artifact
    (artifact / "unet").mkdir()
    (artifact / "unet" / "config.json").touch()
    told = TrainingApi(services).job(job.id, request)["files"]
    assert told == [
        f"studio/run/{job.id}/{name}"
        for name in ("artifact/learned.safetensors", "artifact/unet/config.json", "previews/step-000000-0.png")
    ]


def visitors_request() -> gr.Request:
    cookie = f"{COOKIE}={secrets.token_hex(24)}".encode()
    return gr.Request(Request({"type": "http", "headers": [(b"cookie", cookie)]}))

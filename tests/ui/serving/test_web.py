"""HTTP around the page: owners by cookie, and files for their owner alone."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from jobs.record.store import EVERYBODY
from tests.jobs.finished_run import write_finished_run
from tests.ui.conftest import trained_job
from trainer.bases import find_base
from trainer.recipe.recipe_file import read_fields, requested_recipe
from trainer.settings import Owners, Settings
from trainer.single_file_base import inspect_local
from ui.owners import COOKIE, OwnerPolicy
from ui.services import Services
from ui.serving.request_limits import UPLOADS
from ui.serving.web import build_middleware


@pytest.fixture
def site(services: Services) -> Starlette:
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    settings = Settings.model_validate({"GRADIO_SERVER_NAME": "0.0.0.0"})  # a page for many
    return Starlette(
        routes=[Route("/", echo, methods=["GET", "POST"]), Route(UPLOADS, echo, methods=["POST"])],
        middleware=build_middleware(services, settings),
    )


def visitor(site: Starlette) -> TestClient:
    client = TestClient(site)
    client.get("/")
    return client


def owner_of(services: Services, client: TestClient) -> str:
    owner = services.owners.of_cookie(client.cookies.get(COOKIE))
    assert owner is not None
    return owner


def test_new_browser_gets_a_cookie_that_scripts_cannot_read(site: Starlette) -> None:
    header = TestClient(site).get("/").headers["set-cookie"]
    assert header.startswith(f"{COOKIE}=")
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header


def test_known_browser_keeps_its_cookie_and_forged_ones_are_replaced(site: Starlette) -> None:
    client = visitor(site)
    assert "set-cookie" not in client.get("/").headers
    assert "set-cookie" in TestClient(site, cookies={COOKIE: "me"}).get("/").headers


@pytest.mark.parametrize(
    "foreign",
    ['prefs={"a":1,"b":2}', "flag", "a b=1", "user[id]=3", "@k=1", "x=, y", 'q="un', "seen=Sun Nov 29 (CET)", ""],
)
def test_browser_stays_who_it_is_whatever_cookies_other_sites_gave_it(
    foreign: str, site: Starlette, services: Services
) -> None:
    cookie = f"{COOKIE}={'5' * 48}"
    sent: list[list[tuple[str, str]]] = [
        [("cookie", f"{foreign}; {cookie}")],
        [("cookie", f"{cookie}; {foreign}")],
        [("cookie", foreign), ("cookie", cookie)],
    ]
    for headers in sent:
        assert "set-cookie" not in TestClient(site).get("/", headers=headers).headers


def test_cookie_of_a_space_works_inside_its_frame() -> None:
    settings = Settings(space_id="anna/studio")
    assert OwnerPolicy(settings).cookie_attributes == "SameSite=None; Secure; Partitioned"
    assert settings.owner_mode is Owners.browser


def test_stored_owner_is_not_the_cookie(site: Starlette, services: Services) -> None:
    client = visitor(site)
    assert owner_of(services, client) not in str(client.cookies.get(COOKIE))


def test_machine_of_one_person_has_one_owner(tmp_path: Path) -> None:
    policy = OwnerPolicy(Settings(home=tmp_path))
    assert policy.of_cookie(None) == policy.of_cookie("anything")


@pytest.mark.fault(40)
def test_strange_name_is_turned_away_before_anything_else(services: Services) -> None:
    site = Starlette(middleware=build_middleware(services, Settings.model_validate({})))
    assert visitor(site).get("/studio/picture/1.png").status_code == 400


@pytest.mark.fault(40)
def test_files_of_a_run_are_served_to_their_owner_alone(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    anna, eve, nobody = visitor(site), visitor(site), TestClient(site)
    job = trained_job(services, owner_of(services, anna), tiny_model, photo_folder)
    for name in ("previews/step-000000-0.png", "artifact/learned.safetensors", "photos/thumbs/0001.jpg", "log.txt"):
        url = f"/studio/run/{job.id}/{name}"
        answer = anna.get(url)
        assert answer.status_code == 200
        assert answer.content == b"content of " + name.encode()
        kept = "private, max-age=3600" if name.startswith(("previews", "photos")) else "no-store"
        assert answer.headers["cache-control"] == kept
        assert eve.get(url).status_code == nobody.get(url).status_code == 404
        assert eve.get(url).headers["cache-control"] == "no-store"  # eve may sign in, and be anna


def test_recipe_of_a_job_is_a_file_that_means_the_same(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    anna, eve = visitor(site), visitor(site)
    job = trained_job(services, owner_of(services, anna), tiny_model, photo_folder)
    url = f"/studio/run/{job.id}/recipe.yaml"
    answer = anna.get(url)
    assert answer.headers["content-disposition"] == 'attachment; filename="red-mug.yaml"'
    assert eve.get(url).status_code == 404
    fields = read_fields(answer.text)
    again = requested_recipe(fields, find_base(fields["base"]), inspect_local)
    assert again == services.jobs.run_folder(job.id).read_recipe()


@pytest.mark.fault(40)
def test_log_of_an_example_for_everybody_is_served_to_nobody(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    eve = visitor(site)
    job = trained_job(services, EVERYBODY, tiny_model, photo_folder)
    assert eve.get(f"/studio/run/{job.id}/previews/step-000000-0.png").status_code == 200
    assert eve.get(f"/studio/run/{job.id}/log.txt").status_code == 404


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    "name",
    ["config.json", "job.json", "photos/0001.jpg", "previews/../config.json", "previews/%2e%2e/config.json",
     "checkpoints/x", "artifact/../../../studio.sqlite", "", "previews", "previews/"],
)  # fmt: skip
def test_nothing_else_of_a_run_is_served_even_to_its_owner(
    name: str, site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    anna = visitor(site)
    job = trained_job(services, owner_of(services, anna), tiny_model, photo_folder)
    assert anna.get(f"/studio/run/{job.id}/{name}").status_code == 404


def test_links_out_of_a_run_are_not_followed(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    anna = visitor(site)
    job = trained_job(services, owner_of(services, anna), tiny_model, photo_folder)
    (services.jobs.run_folder(job.id).previews / "out.png").symlink_to("/etc/hostname")
    assert anna.get(f"/studio/run/{job.id}/previews/out.png").status_code == 404


def test_artifact_comes_as_one_archive(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path
) -> None:
    anna, eve = visitor(site), visitor(site)
    job = trained_job(services, owner_of(services, anna), tiny_model, photo_folder)
    url = f"/studio/run/{job.id}/artifact.zip"
    answer = anna.get(url)
    assert 'filename="red-mug.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["learned.safetensors"]
    assert eve.get(url).status_code == 404


def test_folders_of_this_machine_are_in_no_manifest_of_what_is_everybodys(
    site: Starlette, services: Services, tiny_model: Path, photo_folder: Path, tmp_path: Path
) -> None:
    job = trained_job(services, EVERYBODY, tiny_model, photo_folder)
    finished = write_finished_run(tmp_path / "run", photo_folder, base=str(tiny_model))
    shutil.copytree(finished.artifact, services.jobs.run_folder(job.id).artifact, dirs_exist_ok=True)
    folder = f"/studio/run/{job.id}/artifact"
    anna = visitor(site)
    with zipfile.ZipFile(io.BytesIO(anna.get(f"{folder}.zip").content)) as archive:
        told = archive.read("artifact.json")
    for manifest in (told, anna.get(f"{folder}/artifact.json").content):
        assert json.loads(manifest)["base"]["name"] == tiny_model.name
        assert str(tiny_model).encode() not in manifest


@pytest.mark.fault(40)
def test_drafts_and_pictures_are_private_too(site: Starlette, services: Services, photo_folder: Path) -> None:
    anna, eve = visitor(site), visitor(site)
    owner, draft = owner_of(services, anna), services.drafts.new_id()
    (taken,) = services.drafts.add(owner, draft, next(photo_folder.glob("*.jpg")), source="x.jpg").photos
    services.pictures.folder(owner).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(services.pictures.folder(owner) / "1.png")
    photo = f"/studio/draft/{draft}/whole/0001.jpg"
    for url in (f"/studio/draft/{draft}/0001.jpg", photo, "/studio/picture/1.png"):
        assert anna.get(url).status_code == 200
        assert eve.get(url).status_code == 404
    with Image.open(io.BytesIO(anna.get(photo).content)) as whole:
        assert (whole.width, whole.height) == (taken.width, taken.height)
    for url in (
        "/studio/draft/../../x",
        "/studio/picture/%00",
        f"/studio/picture/{'x' * 300}.png",
        photo.replace("0001.jpg", "dataset.json"),
        photo.replace("0001.jpg", "..%2f..%2fx.jpg"),
    ):
        assert anna.get(url).status_code == 404
    assert anna.post("/studio/picture/1.png").status_code == 404

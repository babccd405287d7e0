"""What people get who run it elsewhere: the Space's front matter and the Docker image agree with the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from trainer.bases import PINNED
from trainer.settings import Settings

DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """The front matter of the README."""
    return yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])


def requirement(name: str) -> str:
    pinned = re.search(rf"^{re.escape(name)}==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    return pinned[1]


def instructions(name: str) -> list[str]:
    """The arguments of an instruction of the Dockerfile, one for each time that it is there."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


def copied() -> list[Path]:
    words = [line.replace("--chown=studio", "").split() for line in instructions("COPY")]
    return [ROOT / source for line in words for source in line[:-1]]


def test_space_runs_what_the_requirements_pin(space: dict[str, Any]) -> None:
    assert space["sdk"] == "gradio"
    assert space["sdk_version"] == requirement("gradio[oauth]")
    assert space["python_version"] == "3.11"  # text: an unquoted 3.10 would be read as 3.1
    assert (ROOT / space["app_file"]).name == "app.py"
    assert (ROOT / space["app_file"]).exists()


def test_space_asks_for_what_the_work_needs_and_no_more(space: dict[str, Any]) -> None:
    assert space["suggested_hardware"] == "t4-small"
    assert space["startup_duration_timeout"] == "1h"
    assert space["hf_oauth"] is True
    assert space["hf_oauth_scopes"][:2] == ["contribute-repos", "gated-repos"]
    assert set(space["hf_oauth_scopes"]) <= {"contribute-repos", "gated-repos", "read-repos", "jobs"}
    assert 60 <= space["hf_oauth_expiration_minutes"] <= 43200


def test_space_can_be_found(space: dict[str, Any]) -> None:
    assert len(space["short_description"]) <= 60
    assert space["license"] == "apache-2.0"
    assert set(space["models"]) == set(PINNED)
    assert {"dreambooth", "textual-inversion", "lora"} <= set(space["tags"])
    assert all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in space["tags"])
    assert {"title", "emoji", "colorFrom", "colorTo", "pinned"} <= space.keys()


def test_image_has_the_python_of_the_space_and_no_root(space: dict[str, Any]) -> None:
    assert instructions("FROM") == [f"python:{space['python_version']}-slim"]
    (user,) = instructions("USER")
    assert f"useradd --create-home --uid 1000 {user}" in DOCKERFILE
    assert DOCKERFILE.index("COPY --chown=studio requirements.txt") < DOCKERFILE.index("--requirement requirements.txt")
    assert DOCKERFILE.index("--requirement requirements.txt") < DOCKERFILE.index("app.py ./")


def test_image_keeps_its_data_on_the_volume_and_answers_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert instructions("VOLUME") == [str(settings.home)]
    assert Path(environment()["HF_HOME"]).is_relative_to(settings.home)
    assert settings.host == "0.0.0.0"
    assert not settings.on_loopback
    assert instructions("EXPOSE") == [str(settings.port)]
    assert f"http://127.0.0.1:{settings.port}/" in instructions("HEALTHCHECK")[0]


def test_image_holds_everything_that_the_app_imports(tmp_path: Path) -> None:
    for source in copied():
        assert source.exists(), source
        to = tmp_path / source.relative_to(ROOT)
        shutil.copytree(source, to) if source.is_dir() else shutil.copy(source, to)
    modules = "app, inference.__main__, inference.picture_server, jobs.__main__, trainer.__main__"
    program = f"import {modules}; from jobs.example import find_examples; assert find_examples()"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_nothing_that_is_copied_is_kept_from_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {source.relative_to(ROOT).as_posix() for source in copied()} == allowed
    for secret in (".git", ".env", ".venv"):
        assert secret not in allowed

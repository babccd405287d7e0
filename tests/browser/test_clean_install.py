"""What a Space has: the pushed files, only requirements.txt, and `python app.py`; the same when it was duplicated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import ROOT
from tests.app_process import App
from tests.browser.space import find_no_token, sign_in, space_environment, train_and_publish
from tests.browser.steps import phone_photos
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Open = Callable[..., Page]
MakeApp = Callable[..., App]


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what a Space installs, and nothing of what checks this project."""
    folder = tmp_path_factory.mktemp("space") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    requirements = ROOT / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
    assert subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode != 0
    return python


@pytest.mark.timeout(1800)
def test_app_alone_signs_in_trains_and_publishes(
    app: MakeApp, clean_python: Path, hub: LocalHub, new_page: Open, tmp_path: Path
) -> None:
    studio = app(python=clean_python, **space_environment(hub, tmp_path / "hf"))
    studio.start()
    page = new_page(studio.url)
    expect(page.locator("body")).to_contain_text("This Space does not keep its disk.")
    sign_in(page)
    train_and_publish(page, phone_photos(tmp_path / "phone"), "red-mug", "alice/red-mug")
    find_no_token(studio, hub)


@pytest.mark.timeout(1800)
def test_duplicated_space_does_the_same_from_its_own_files(
    app: MakeApp, clean_python: Path, hub: LocalHub, new_page: Open, tmp_path: Path
) -> None:
    files = tmp_path / "space"
    duplicated = subprocess.run(
        [sys.executable, "-m", "tests.browser.duplicate_space", "alice/studio", "acme/studio", str(files)],
        cwd=ROOT,
        env={**os.environ, **hub.environment(tmp_path / "client", token=ALICE)},
        capture_output=True,
        text=True,
    )
    assert duplicated.returncode == 0, duplicated.stderr + hub.log()
    studio = app(python=clean_python, root=files, **space_environment(hub, tmp_path / "hf", space_id="acme/studio"))
    studio.start()
    page = new_page(studio.url)
    sign_in(page)
    train_and_publish(page, phone_photos(tmp_path / "phone"), "red-mug", "alice/red-mug")
    find_no_token(studio, hub)
    assert not [f for f in files.rglob("*") if f.is_file() and "__pycache__" not in f.parts and is_new(f, files)]


def is_new(file: Path, root: Path) -> bool:
    """Whether the app wrote a file among its own, where a Space loses it."""
    name = file.relative_to(root).as_posix()
    return not name.startswith(".cache/") and not (ROOT / name).is_file()

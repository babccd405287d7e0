"""Where data is kept, as the environment says, and what is refused at the start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import main
from tests import ROOT
from tests.disks import mounted
from tests.waiting import PATIENCE_S
from trainer import settings as module
from trainer.child_environment import environment_for_visitors, environment_for_weights, process_environment
from trainer.errors import RequestError
from trainer.settings import Settings


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /data, with a bucket mounted there."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(module, "BUCKET_MOUNT", tmp_path / "data")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "data" and path.exists())
    return tmp_path / "data"


@pytest.fixture
def on_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "alice/studio")


@pytest.mark.usefixtures("on_space")
def test_bucket_of_a_space_is_the_mirror(bucket: Path) -> None:
    assert Settings().mirror_dir == bucket


def test_mounted_data_folder_elsewhere_is_not_touched(bucket: Path) -> None:
    assert Settings().mirror_dir is None


@pytest.mark.usefixtures("on_space")
def test_space_without_a_writable_mount_has_no_mirror(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as read_only:
        read_only.setattr(module.os, "access", lambda _path, _mode: False)
        assert Settings().mirror_dir is None
    with monkeypatch.context() as plain_folder:
        plain_folder.setattr(Path, "is_mount", lambda _path: False)
        assert Settings().mirror_dir is None
    bucket.rmdir()
    assert Settings().mirror_dir is None


@pytest.mark.usefixtures("on_space", "bucket")
def test_mirror_that_is_set_counts_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STUDIO_MIRROR", str(tmp_path / "elsewhere"))
    assert Settings().mirror_dir == tmp_path / "elsewhere"


def test_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_MIRROR", "")
    assert Settings().mirror_dir is None


@pytest.mark.parametrize(("home", "mirror"), [("data", "data"), ("data", "data/mirror"), ("mirror/data", "mirror")])
def test_mirror_and_data_folder_must_not_contain_each_other(tmp_path: Path, home: str, mirror: str) -> None:
    with pytest.raises(RequestError, match="inside each other"):
        Settings(home=tmp_path / home, mirror=tmp_path / mirror).check_home()


def test_shared_folder_holds_runs_and_speeds_and_needs_a_database_for_several_machines(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", shared=tmp_path / "shared")
    assert settings.runs_dir == tmp_path / "shared" / "runs"
    assert settings.speeds_file == tmp_path / "shared" / "speeds.json"
    assert settings.runtime_dir == tmp_path / "home" / "runtime"
    with pytest.raises(RequestError, match="set STUDIO_DATABASE_URL to a Postgres database"):
        settings.check_home()
    assert not settings.home.exists()
    postgres = settings.model_copy(update={"database_url": "postgresql://database/jobs"})
    postgres.check_home()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="STUDIO_SHARED to a folder that is"):
        postgres.model_copy(update={"shared": tmp_path / "file" / "x"}).check_home()


def test_mirror_must_be_a_whole_path(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="whole path"):
        Settings(home=tmp_path / "home", mirror=Path("mirror")).check_home()


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder that cannot be written, be it by its permissions or, for root, by its disk."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    if os.geteuid() != 0:
        yield home
        return
    with mounted(home, "ro"):
        yield home


@pytest.mark.fault(18)
def test_app_refuses_a_data_folder_that_it_cannot_write_and_says_which_and_what_to_do(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(closed_folder))
    assert main() == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(closed_folder) in line
    assert "cannot be written" in line
    assert "STUDIO_HOME" in line
    assert list(closed_folder.iterdir()) == []


def test_child_that_works_for_visitors_has_no_token_that_is_not_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_made_for_this_test")
    assert environment_for_visitors(Settings()) == dict(os.environ)
    monkeypatch.setenv("SPACE_ID", "alice/studio")
    theirs = environment_for_visitors(Settings())
    assert "hf_made_for_this_test" not in theirs.values()
    assert theirs["SPACE_ID"] == "alice/studio"
    assert theirs["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"  # a token that `hf auth login` has written down


@pytest.mark.fault(59)
def test_no_child_has_the_sign_ins_secret_and_none_that_trains_the_databases_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OAUTH_CLIENT_ID", "the-app")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "made-for-this-test")
    monkeypatch.setenv("STUDIO_DATABASE_URL", "postgresql://studio:password@database/jobs")
    monkeypatch.setenv("STUDIO_SHARED", str(tmp_path))
    settings = Settings()
    others, training = environment_for_visitors(settings), environment_for_weights(settings)
    for environment in (process_environment(), others, training):
        assert environment["OAUTH_CLIENT_ID"] == "the-app"
        assert "OAUTH_CLIENT_SECRET" not in environment
    assert others["STUDIO_DATABASE_URL"] == settings.database_url
    for name in set(others) - set(training):
        monkeypatch.delenv(name)
    assert settings.database_url not in training.values()
    Settings().check_home()  # as a training child does


WRONG = {
    "STUDIO_HOME": ("data", "a whole path that begins with /"),
    "STUDIO_MIRROR": ("mirror", "a whole path that begins with /"),
    "STUDIO_DATABASE_URL": ("hf_secretsecret", "a URL that begins with sqlite://// (a whole path) or postgresql://"),
    "STUDIO_SHARED": ("shared", "a whole path that begins with /"),
    "STUDIO_TRAIN_HERE": ("sometimes", "1 or 0"),
    "STUDIO_OWNERS": ("nobody", "single, browser or huggingface"),
    "STUDIO_EXAMPLE": ("maybe", "1 or 0"),
    "GRADIO_SERVER_PORT": ("99999", "a whole number from 1 to 65535"),
    "STUDIO_JOBS_LIMIT_MIN": ("3", "a whole number from 10 to 2880"),
    "STUDIO_COST_CAP": ("hf_abcabcabc", "a number above 0"),
}


@pytest.mark.parametrize(
    "program",
    [
        ["-m", "trainer", "train", "--photos", ".", "--method", "dreambooth", "--name", "x", "--out", "run"],
        ["-m", "inference", "--prompt", "x", "--out", "x.png"],
        ["-m", "jobs", "list"],
    ],
    ids=["trainer", "inference", "jobs"],
)
def test_each_wrong_variable_is_one_sentence_that_does_not_quote_it(program: list[str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        env={**os.environ, **{name: value for name, (value, _) in WRONG.items()}},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert_all_are_said(result.stdout, result.stderr)


def test_app_says_each_wrong_variable_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (value, _) in WRONG.items():
        monkeypatch.setenv(name, value)
    assert main() == 2
    assert_all_are_said(*capsys.readouterr())


def assert_all_are_said(out: str, err: str) -> None:
    assert sorted(err.splitlines()) == sorted(f"{name} must be {words}." for name, (_, words) in WRONG.items())
    assert out == ""


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "1,5"])
def test_cap_is_an_amount(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_COST_CAP", value)
    with pytest.raises(RequestError, match=r"^STUDIO_COST_CAP must be a number above 0\.$"):
        Settings()


def test_name_that_is_used_is_the_one_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_PORT", "many")
    with pytest.raises(RequestError, match=r"^STUDIO_PORT must be"):
        Settings()


def test_port_that_is_taken_is_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = {**os.environ, "STUDIO_HOME": str(tmp_path / "home"), "GRADIO_SERVER_PORT": port}
        result = subprocess.run(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"The page cannot be served on port {port} of 127.0.0.1")

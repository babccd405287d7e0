"""Copies of jobs in a mirror, and what of them counts as whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.mirror.copy_list import CopiedFile, read_newest_list
from jobs.mirror.folder import Mirror
from jobs.mirror.keeping import GOING, Keeping
from jobs.mirror.restore import restore_from_mirror
from jobs.record.job_file import JobFile
from jobs.record.state import JobState
from tests.jobs.finished_run import write_finished_run
from trainer.errors import MirrorError
from trainer.run_folder import RunFolder
from trainer.settings import Settings
from trainer.whole_files import write_whole

JOB = "0123456789abcdef"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture
def settings(tmp_path: Path, place: Path) -> Settings:
    return Settings(home=tmp_path / "home", mirror=place)


@pytest.fixture
def keeping(settings: Settings) -> Keeping:
    return Keeping(settings)


@pytest.fixture
def run(settings: Settings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished job with everything that a run folder may hold; some of its files are copied in several pieces."""
    monkeypatch.setattr("jobs.mirror.folder._CHUNK", 4_000)
    run = write_finished_run(settings.runs_dir / JOB, photo_folder)
    file = JobFile(id=JOB, owner="anna", title="red-mug", state=JobState.finished, created=1.0)
    run.job_file.write_text(file.model_dump_json())
    run.events_file.write_text('{"event": "phase"}\n')
    for step in (3, 6):
        (run.checkpoints / f"step-{step:06d}").mkdir(parents=True)
        (run.checkpoints / f"step-{step:06d}" / "weights.safetensors").write_bytes(bytes([step]) * 9_000)
    (run.root / ".lock").write_text("1")
    return run


@pytest.fixture
def mirror(place: Path) -> Mirror:
    mirror = Mirror(place)
    mirror.check()
    return mirror


def contents(folder: Path) -> dict[str, bytes]:
    files = {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()}
    return {name: f.read_bytes() for name, f in files.items() if not name.startswith(".")}


def lose_disk(settings: Settings) -> None:
    shutil.rmtree(settings.home)


def test_job_comes_back_as_it_was(
    settings: Settings, keeping: Keeping, mirror: Mirror, place: Path, run: RunFolder
) -> None:
    before, touched = contents(run.root), run.job_file.stat().st_mtime_ns
    assert mirror.copy(run.root)
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 1
    assert contents(run.root) == before
    assert run.job_file.stat().st_mtime_ns == touched
    assert not (run.root / ".lock").exists()
    assert keeping.status().note == ""
    assert not Mirror(place).copy(run.root)  # what came back is not copied again
    assert restore_from_mirror(settings, keeping) == 0


def test_only_what_changed_is_copied_and_what_is_superseded_goes(mirror: Mirror, run: RunFolder) -> None:
    mirror.copy(run.root)
    assert not mirror.copy(run.root)
    before = contents(mirror.folder(JOB))
    write_whole(run.job_file, run.job_file.read_text().replace("red-mug", "green-mug"))
    shutil.rmtree(run.checkpoints / "step-000003")
    assert mirror.copy(run.root)
    after = contents(mirror.folder(JOB))
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    lists = {name for name in gone | new if name.startswith("whole-")}
    assert gone - lists == {"job.json", "checkpoints/step-000003/weights.safetensors"}
    assert new - lists == {"job.json~2"}
    assert len(lists) == 2
    assert b"green-mug" in after["job.json~2"]


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_file_that_the_mirror_lost_is_copied_again(
    settings: Settings, keeping: Keeping, mirror: Mirror, place: Path, run: RunFolder, damage: str
) -> None:
    mirror.copy(run.root)
    before, lost = contents(run.root), mirror.folder(JOB) / "photos" / "0001.jpg"
    lost.unlink() if damage == "removed" else lost.write_bytes(b"half")
    assert Mirror(place).copy(run.root)
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 1
    assert contents(run.root) == before


@pytest.mark.parametrize(
    ("damaged", "comes_back"),
    [
        ("photos/0001.jpg", False),
        ("artifact/learned_embeds.safetensors", False),
        ("config.json", False),
        ("checkpoints/step-000006/weights.safetensors", True),
        ("previews/step-000003-0.png", True),
    ],
)
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "missing"])
def test_what_is_not_whole_is_left_out_and_a_job_that_needs_it_stays_in_the_mirror(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder, damaged: str, comes_back: bool, cut: bool
) -> None:
    mirror.copy(run.root)
    copy = mirror.folder(JOB) / damaged
    copy.write_bytes(copy.read_bytes()[:-1]) if cut else copy.unlink()
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == int(comes_back)
    if comes_back:
        assert not (run.root / damaged).exists()
        assert (run.checkpoints / "step-000003").is_dir()
    else:
        assert not run.root.exists()
        assert keeping.status().note == "1 of the jobs in the mirror is not whole and stays there as it was."
        assert read_newest_list(mirror.folder(JOB)) is not None


def test_damaged_checkpoint_leaves_no_empty_folder(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    mirror.copy(run.root)
    (mirror.folder(JOB) / "checkpoints/step-000006/weights.safetensors").write_bytes(b"half")
    lose_disk(settings)
    restore_from_mirror(settings, keeping)
    assert [folder.name for folder in run.checkpoints.iterdir()] == ["step-000003"]


def test_half_a_list_does_not_count_and_the_one_before_does(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    mirror.copy(run.root)
    (newest,) = mirror.folder(JOB).glob("whole-*")
    torn = newest.with_name(newest.name.replace("000001", "000002"))
    torn.write_bytes(newest.read_bytes()[:-20])
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 1
    newest.unlink()
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 0


def test_list_that_cannot_be_read_keeps_no_other_job_from_coming_back(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    before = settings.runs_dir / ("0" * 16)
    shutil.copytree(run.root, before)
    for root in (before, run.root):
        mirror.copy(root)
    (unreadable,) = mirror.folder(before.name).glob("whole-*")
    unreadable.unlink()
    unreadable.mkdir()
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 1
    assert run.job_file.exists()
    assert keeping.status().note == "1 of the jobs in the mirror is not whole and stays there as it was."


def test_checkpoint_that_is_replaced_while_it_is_copied_arrives_whole(
    mirror: Mirror, place: Path, run: RunFolder
) -> None:
    expected = contents(run.checkpoints)
    pruning = Mirror(place, mirror_id=mirror.mirror_id, beat=lambda: shutil.rmtree(run.checkpoints, True))
    pruning.copy(run.root)
    assert not run.checkpoints.exists()
    assert contents(mirror.folder(JOB) / "checkpoints") == expected


def test_part_that_goes_while_it_is_copied_keeps_its_earlier_copy(mirror: Mirror, place: Path, run: RunFolder) -> None:
    mirror.copy(run.root)
    expected = contents(mirror.folder(JOB) / "artifact")
    write_whole(run.job_file, run.job_file.read_text() + "\n")
    for file in run.artifact.iterdir():
        file.touch()
    notes = run.artifact / "notes.json"
    exporting = Mirror(place, mirror_id=mirror.mirror_id, beat=lambda: notes.unlink(missing_ok=True))
    assert exporting.copy(run.root)
    assert contents(mirror.folder(JOB) / "artifact") == expected


@pytest.mark.parametrize("link", ["photos", "photos/0001.jpg", "job.json", ""])
def test_links_in_the_mirror_are_never_followed(
    settings: Settings, keeping: Keeping, mirror: Mirror, place: Path, run: RunFolder, tmp_path: Path, link: str
) -> None:
    mirror.copy(run.root)
    inside, outside = mirror.folder(JOB) / link, tmp_path / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    before = contents(outside) if outside.is_dir() else outside.read_bytes()
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 0
    assert not run.root.exists()
    # and nothing is written or removed through them either
    lose_disk(settings)
    shutil.copytree(outside, run.root) if outside.is_dir() and not link else run.photos.mkdir(parents=True)
    (run.photos / "0001.jpg").write_bytes(b"new")
    run.job_file.write_text("{}")
    writing = Mirror(place, mirror_id=mirror.mirror_id)
    try:
        writing.copy(run.root)
        writing.forget(JOB)
    except OSError as error:
        assert "links are not followed" in str(error)
    assert (contents(outside) if outside.is_dir() else outside.read_bytes()) == before


def test_links_of_a_run_are_not_copied(mirror: Mirror, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (run.root / "link.txt").symlink_to(tmp_path / "secret")
    (run.photos / "link.jpg").symlink_to(tmp_path / "secret")
    (run.root / "folder").symlink_to(tmp_path)
    mirror.copy(run.root)
    assert not [name for name, data in contents(mirror.folder(JOB)).items() if b"secret" in data or "link" in name]
    assert not (mirror.folder(JOB) / "folder").exists()


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("../escaped", "../escaped"),
        ("/tmp/escaped", "/tmp/escaped"),
        ("photos/../../escaped", "photos/../../escaped"),
        (".lock", ".lock"),
        ("photos//a", "photos//a"),
        ("photos/a", "job.json"),
        ("photos/a", "photos/a~"),
        ("", ""),
        ("a\0b", "a\0b"),
    ],
)
def test_list_cannot_name_what_lies_elsewhere(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder, path: str, stored: str
) -> None:
    mirror.copy(run.root)
    (newest,) = mirror.folder(JOB).glob("whole-*")
    listed: dict[str, Any] = json.loads(newest.read_bytes())
    listed["files"].append({**listed["files"][0], "path": path, "stored": stored})
    content = json.dumps(listed, separators=(",", ":")).encode()
    newest.unlink()
    newest.with_name(f"whole-000001-{hashlib.sha256(content).hexdigest()[:16]}.json").write_bytes(content)
    lose_disk(settings)
    assert restore_from_mirror(settings, keeping) == 0
    assert not (settings.home / "escaped").exists()
    assert not (settings.runs_dir / "escaped").exists()


def test_checkpoint_is_whole_or_of_no_use() -> None:
    def unit(path: str) -> str:
        return CopiedFile(path=path, stored=path, bytes=0, mtime_ns=0, sha256="").unit

    assert unit("checkpoints/step-000010/weights.safetensors") == "checkpoints/step-000010"
    assert unit("photos/thumbs/0001.jpg") == "photos/thumbs/0001.jpg"
    assert unit("events.jsonl") == "events.jsonl"


def test_forgotten_job_is_gone_from_the_mirror_and_does_not_come_back(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    mirror.copy(run.root)
    keeping.forget(JOB)
    shutil.rmtree(run.root)
    assert restore_from_mirror(settings, keeping) == 0  # not even before the copy is removed
    mirror.forget(JOB)
    mirror.forget(JOB)
    assert mirror.job_ids() == []


def test_job_that_is_deleted_while_there_is_no_mirror_does_not_come_back_with_it(
    settings: Settings, mirror: Mirror, run: RunFolder
) -> None:
    mirror.copy(run.root)
    Keeping(Settings(home=settings.home)).forget(JOB)  # a start without STUDIO_MIRROR
    shutil.rmtree(run.root)
    again = Keeping(settings)
    assert restore_from_mirror(settings, again) == 0
    assert again.forgotten() == [JOB]


def test_job_whose_deletion_was_begun_does_not_come_back(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    """A kill came between its files and its copy."""
    mirror.copy(run.root)
    run.root.rename(run.root.with_name(f"{GOING}{JOB}"))
    assert restore_from_mirror(settings, keeping) == 0
    assert not run.root.exists()


@pytest.mark.fault(17)
def test_full_disk_is_no_reason_not_to_start(
    settings: Settings, keeping: Keeping, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_status: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping, "report", full)
    assert restore_from_mirror(settings, keeping) == 0


def test_rest_of_a_removed_copy_is_tidied_away_and_a_damaged_one_is_not(mirror: Mirror, run: RunFolder) -> None:
    mirror.copy(run.root)
    rest = mirror.folder("rest")
    (rest / "photos").mkdir(parents=True)
    mirror.remove_beginnings([])
    assert mirror.job_ids() == [JOB]


def test_mirror_that_went_is_not_mistaken_for_an_empty_one(mirror: Mirror, place: Path, tmp_path: Path) -> None:
    place.rename(tmp_path / "away")
    with pytest.raises(MirrorError, match="is not there"):
        mirror.check()
    place.mkdir()  # as an unmounted folder looks
    with pytest.raises(MirrorError, match="is not there"):
        mirror.check()
    assert list(place.iterdir()) == []
    place.rmdir()
    (tmp_path / "away").rename(place)
    mirror.check()


def test_start_without_the_mirror_says_so_and_leaves_everything(
    settings: Settings, keeping: Keeping, mirror: Mirror, place: Path, run: RunFolder, tmp_path: Path
) -> None:
    mirror.copy(run.root)
    lose_disk(settings)
    place.rename(tmp_path / "away")
    assert restore_from_mirror(settings, keeping) == 0
    assert "come back when the app is started again" in keeping.status().note
    (tmp_path / "away").rename(place)
    assert restore_from_mirror(settings, keeping) == 1


def test_start_with_an_empty_mirror_is_a_first_start_and_with_a_used_one_is_not(
    settings: Settings, keeping: Keeping
) -> None:
    restore_from_mirror(settings, keeping)
    assert not settings.runs_dir.exists()
    restore_from_mirror(settings, keeping)
    assert settings.runs_dir.exists()


def test_job_that_does_not_fit_the_disk_stays_in_the_mirror(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.copy(run.root)
    lose_disk(settings)
    full = shutil.disk_usage(settings.home.parent)._replace(free=10**9)
    monkeypatch.setattr("jobs.mirror.restore.shutil.disk_usage", lambda _folder: full)
    assert restore_from_mirror(settings, keeping) == 0
    assert "there was no room on this disk" in keeping.status().note
    monkeypatch.undo()
    assert restore_from_mirror(settings, keeping) == 1


def test_restore_that_was_killed_leaves_nothing_behind_the_next_one(
    settings: Settings, keeping: Keeping, mirror: Mirror, run: RunFolder
) -> None:
    mirror.copy(run.root)
    lose_disk(settings)
    beginning = settings.runs_dir / f".{JOB}.abcdef"
    (beginning / "photos").mkdir(parents=True)
    other = settings.runs_dir / ".fedcba.abcdef"  # a job that is being submitted
    other.mkdir()
    restore_from_mirror(settings, keeping)
    assert {entry.name for entry in settings.runs_dir.iterdir()} == {JOB, other.name}

"""A shared folder that is not mounted for a while, under a page that runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jobs.open import open_service
from jobs.record.store import Job, new_job_id
from jobs.service import JobService
from trainer.errors import RequestError
from trainer.settings import Settings

_AWAY = r"^The folder with the runs is away, so nothing was done\."


@pytest.fixture
def unmounted(settings: Settings, tmp_path: Path) -> Callable[[], Callable[[], None]]:
    """Takes the shared folder away, and leaves the mount point; what it returns brings it back."""
    shared, elsewhere = settings.shared_dir, tmp_path / "elsewhere"

    def bring_back() -> None:
        shared.rmdir()  # nothing was written there
        elsewhere.rename(shared)

    def call() -> Callable[[], None]:
        shared.rename(elsewhere)
        shared.mkdir()
        return bring_back

    return call


def test_nothing_is_deleted_resumed_or_submitted_while_the_shared_folder_is_away(
    settings: Settings, service: JobService, submit: Callable[..., Job], unmounted: Callable[[], Callable[[], None]]
) -> None:
    job, press = submit(), new_job_id()
    service.cancel(job.id, "anna")
    mount = unmounted()
    for act in (
        lambda: service.delete(job.id, "anna"),
        lambda: service.resume(job.id, "anna"),
        lambda: submit(press_id=press),
    ):
        with pytest.raises(RequestError, match=_AWAY):
            act()
    assert [view.job.id for view in service.views("anna")] == [job.id]
    mount()
    assert submit(press_id=press).id == press
    service.delete(job.id, "anna")
    with closing(open_service(settings)) as restarted:
        assert restarted.rebuild() == 0
        assert [view.job.id for view in restarted.views("anna")] == [press]


def test_job_is_not_queued_while_nobody_can_tell_where_it_trains(
    service: JobService,
    submit: Callable[..., Job],
    unmounted: Callable[[], Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, queued = submit(), list[str]()
    monkeypatch.setattr(service.queue._queue, "enqueue", lambda job_id, **_: queued.append(job_id))
    bring_back = unmounted()
    service.queue.add_missing()
    service.queue.enqueue(job)
    assert queued == []
    bring_back()
    service.queue.add_missing()
    assert queued == [job.id]


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), RequestError("/mnt/studio is another")])
def test_folder_that_cannot_be_asked_is_away_and_not_named(
    service: JobService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def ask(_settings: Settings) -> None:
        raise error

    monkeypatch.setattr(service.fleet._store, "check_shared_folder", ask)
    with pytest.raises(RequestError, match=_AWAY):
        service.fleet.check_folder()

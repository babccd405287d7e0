"""The Jobs page shows the newest, and all that are open; older ones are a press away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from app import build_services
from jobs.record.state import JobState
from jobs.record.store import SINGLE_OWNER
from tests.jobs.made_by_hand import make_job
from tests.ui.conftest import VISITOR, drawn
from trainer.machine.devices import cpu
from trainer.settings import Settings
from ui.jobs_tab import JOBS, JobsTab
from ui.services import Services


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    yield services
    services.jobs.close()


def test_older_jobs_are_a_press_away_and_open_ones_always_there(services: Services) -> None:
    ended = [make_job(title=f"job-{n}", state=JobState.finished, created=float(n)) for n in range(1, JOBS + 4)]
    jobs = [make_job(title="resumed", created=0.0), *ended]
    services.jobs._store.add(*(make_job(**{**vars(job), "owner": SINGLE_OWNER}) for job in jobs))
    page = drawn(lambda blocks: JobsTab(services, blocks))
    content = page._draw(VISITOR, JOBS).content
    assert content.count("<article") == JOBS + 1
    assert all(f'aria-label="{title}"' in content for title in ("resumed", f"job-{JOBS + 3}", "job-4"))
    assert 'aria-label="job-3"' not in content
    assert "3 more" in content
    pressed = page._act(JOBS, gr.EventData(None, {"action": "older"}), VISITOR)
    assert pressed[page._count] == 2 * JOBS
    assert pressed[page.view.shown].count("<article") == JOBS + 4
    assert "Show older" not in pressed[page.view.shown]

from __future__ import annotations

import re

import pytest

from jobs.record.state import JobState
from jobs.runs.progress import Progress
from tests.jobs.made_by_hand import make_job
from trainer.photos.checkup import SetReport, SetVerdict, Verdict
from trainer.photos.intake import Photo
from trainer.recipe.choices import Method
from trainer.recipe.fields import recipe_fields
from ui.html import file_size, loss_curve, render, smoothed
from ui.jobs_tab import PHASE_WORDS, _Card


@pytest.mark.fault(45)
def test_names_of_files_are_shown_literally() -> None:
    photo = Photo("<img src=x onerror=alert(1)>.jpg", Verdict.refused, ("is damaged & bad",))
    report = SetReport(SetVerdict.not_usable, ("<b>no</b>",))
    html = render("photos.html", photos=[photo], report=report, draft="x", left=0, back_to="")
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in html
    assert "damaged &amp; bad" in html
    assert "<b>no</b>" not in html


def drawn_card(state: JobState, place: int | None) -> str:
    """The card of a job in this state, at this place in the queue."""
    card = _Card(
        job=make_job(state=state, title="<mug>"),
        progress=Progress(),
        place=place,
        starts_in_s=5.0 if place else None,
        has_artifact=False,
        is_own=True,
        publication=None,
        money=[],
    )
    return render("jobs.html", views=[card], older=0, could_sign_in=False, phase_words=PHASE_WORDS, title="t")


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_of_a_job_is_drawn(state: JobState) -> None:
    html = drawn_card(state, 1 if state is JobState.waiting else None)
    assert state.value in html
    assert "&lt;mug&gt;" in html
    assert ("Cancel" in html) == (state in (JobState.waiting, JobState.running, JobState.stopping))
    assert ("Resume" in html) == (state in (JobState.stopped, JobState.failed, JobState.cancelled))


@pytest.mark.parametrize(("place", "words"), [(None, "Starting"), (1, "Next in line"), (2, "Number 2 in line")])
def test_job_that_waits_has_a_place_or_has_just_left_it(place: int | None, words: str) -> None:
    html = drawn_card(JobState.waiting, place)
    assert words in html
    assert "None" not in html


def test_loss_curve_of_a_long_run_has_a_point_for_every_second_pixel_and_ends_with_the_newest() -> None:
    svg = str(loss_curve({step: 1 / step for step in range(1, 2001)}, 2000, width=100, height=50))
    raw = re.findall(r'points="([^"]*)"', svg)[0].split()
    assert 25 < len(raw) <= 51
    assert raw[-1].startswith("100.0,")


def test_loss_curve_needs_two_points_and_stays_in_its_box() -> None:
    assert loss_curve({1: 0.5}, 10) == ""
    svg = str(loss_curve({1: 0.5, 5: 0.4, 10: 99.0}, 10, width=100, height=50))
    assert svg.count("polyline") == 2
    points = svg.split('points="')[1].split('"')[0].split()
    assert all(0 <= float(x) <= 100 and 0 <= float(y) <= 50 for x, y in (p.split(",") for p in points))


def test_smoothing_starts_at_the_first_value() -> None:
    assert smoothed([4.0, 4.0, 4.0]) == pytest.approx([4.0, 4.0, 4.0])
    assert smoothed([0.0, 10.0])[1] > 4


@pytest.mark.parametrize(
    ("count", "words"), [(5, "5 B"), (999, "999 B"), (8200, "8.2 KB"), (3_100_000, "3.1 MB"), (2.13e9, "2.1 GB")]
)
def test_sizes_are_said_briefly(count: float, words: str) -> None:
    assert file_size(count) == words


def test_labels_of_fields_read_as_words() -> None:
    labels = {field.label for method in Method for field in recipe_fields(method)}
    assert {"Steps", "Learning rate", "Resolution (px)", "Batch size (pictures)"} <= labels
    assert not any("_" in label for label in labels)

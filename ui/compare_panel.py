"""Two trainings side by side: their previews by prompt and seed, what was measured, sizes and times."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from jobs.record.store import Job
from jobs.views.comparing import SideBySide
from trainer.errors import RequestError
from ui.buttons import UNFOLDED_JS
from ui.html import moment, render
from ui.listening import QUIET_AT_ONCE
from ui.method_words import method_words
from ui.polling import Drawn, PolledHtml, drawn_or_trouble
from ui.services import Services

# The slider shows every picture's newest version up to a moment of the training. It stays where it was put when new
# content arrives; at its end it follows what is newest.
_SLIDER_JS = """
let chosen = null;
const show = () => {
  const slider = element.querySelector('input[type=range]');
  if (!slider) return;
  const shares = JSON.parse(slider.dataset.shares);
  if (chosen !== null) slider.value = shares.filter((share) => share <= chosen).length - 1;
  const now = shares[slider.value];
  for (const figure of element.querySelectorAll('figure[data-film]')) {
    const shots = [...figure.querySelectorAll('img')];
    const newest = shots.filter((shot) => Number(shot.dataset.share) <= now + 1e-4).pop() || shots[0];
    for (const shot of shots) shot.hidden = shot !== newest;
    if (newest) figure.querySelector('figcaption').textContent = newest.dataset.caption;
  }
};
element.addEventListener('input', (event) => {
  const shares = JSON.parse(event.target.dataset.shares);
  const place = Number(event.target.value);
  chosen = place === shares.length - 1 ? null : shares[place];
  show();
});
show();
watch('value', show);
"""


class ComparePanel:
    """Draws the panel, hidden until `open_for` shows it; `place` tells the panels of several pages apart."""

    def __init__(self, services: Services, place: str) -> None:
        self._services = services
        with gr.Column(visible=False, elem_id=f"compare-{place}", elem_classes="cs-compare-panel") as self._panel:
            with gr.Row(elem_classes="cs-compare-head"):
                gr.Markdown("## Side by side")
                close = gr.Button("Close", size="sm", elem_classes="cs-close", min_width=80)
            with gr.Row(elem_classes="cs-compare-choice"):
                self._left = gr.Dropdown(label="Left", filterable=False, min_width=200)
                self._right = gr.Dropdown(label="Right", filterable=False, min_width=200)
            self._view = PolledHtml(
                self._draw,
                [self._left, self._right],
                active=False,
                js_on_load=_SLIDER_JS + UNFOLDED_JS,
                elem_classes="cs-compare-shown",
            )
        close.click(self._closed, None, [self._panel, *self._view.outputs], **QUIET_AT_ONCE)

    @property
    def opened(self) -> list[Any]:
        """What `open_for` fills."""
        return [self._panel, self._left, self._right, *self._view.outputs]

    def open_for(self, job_id: str, owner: str) -> tuple[Any, ...]:
        """Show a job beside the one that it was queued with, or else the newest other concept."""
        choices, left, right = choose_pair(self._services, job_id, owner)
        return (
            gr.update(visible=True),
            gr.update(choices=choices, value=left),
            gr.update(choices=choices, value=right),
            *self._view.update(self._compared(left, right, owner)),
        )

    def open_if_pair(self, job_id: str, request: gr.Request) -> tuple[Any, ...]:
        """Show a job that was just queued, if another one was queued with it."""
        owner = self._services.owners.of(request)
        if not job_id or self._services.jobs.compared_with(job_id, owner) is None:
            return (gr.skip(),) * len(self.opened)
        return self.open_for(job_id, owner)

    def _draw(self, request: gr.Request, left: str | None, right: str | None) -> Drawn | None:
        """The two that are chosen; nothing where nobody looks."""
        if not left or not right:
            return None
        return drawn_or_trouble(partial(self._compared_or_gone, left, right), request)

    def _compared_or_gone(self, left: str, right: str, request: gr.Request) -> Drawn:
        try:
            return self._compared(left, right, self._services.owners.of(request))
        except RequestError:
            return Drawn(render("gone.html"), goes_on=False)

    def _compared(self, left: str, right: str, owner: str) -> Drawn:
        """Raises RequestError as `compare` does."""
        compared = self._services.jobs.compare(left, right, owner)
        return Drawn(comparison_html(compared), compared.left.job.is_open or compared.right.job.is_open)

    def _closed(self) -> tuple[Any, ...]:
        return gr.update(visible=False), *self._view.stopped()


def comparison_html(compared: SideBySide) -> str:
    """The comparison of two jobs."""
    return render("compare.html", compared=compared, sides=[compared.left, compared.right])


def choose_pair(services: Services, job_id: str, owner: str) -> tuple[list[tuple[str, str]], str, str]:
    """What a job can be compared with, as choices, and what is shown first, left and right: the older one left.

    Raises RequestError where there is no such job, or nothing to compare it with.
    """
    other = services.jobs.compared_with(job_id, owner)
    shown = [job for job in services.jobs.rows(owner) if job.id in (job_id, other) or _is_concept(services, job)]
    other = other or next((job.id for job in shown if job.id != job_id), None)
    if other is None:
        raise RequestError("There is nothing to compare it with yet. Train or add a second concept.")
    right, left = (job.id for job in shown if job.id in (job_id, other))
    return [(_label(job), job.id) for job in shown], left, right


def _is_concept(services: Services, job: Job) -> bool:
    return not job.is_open and services.jobs.run_folder(job.id).has_result


def _label(job: Job) -> str:
    """Name, method and when, because several concepts may have one name."""
    method = method_words(job.method)
    return f"{job.title} · {method} · {moment(job.created)}"

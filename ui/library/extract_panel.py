"""Extracting a LoRA from a full model of the Library: its rank, and a new entry made of it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import RequestError
from ui.errors import spoken
from ui.listening import QUIET
from ui.services import Services


class ExtractPanel:
    """Draws the panel, hidden until a card's button opens it; `asked` fires when an extraction was queued."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._job = gr.State("")
        with gr.Column(visible=False, elem_id="extract-panel") as self.panel:
            self._title = gr.Markdown()
            self._rank = gr.Number(
                16,
                precision=0,
                label="Rank",
                info="1 to 256; more keeps more of what was learnt, in a larger file. The share is shown afterwards.",
                elem_id="extract-rank",
            )
            with gr.Row():
                press = gr.Button("Extract", variant="primary", elem_id="extract")
                close = gr.Button("Not now")
        self.asked = press.click(spoken(self._extract), [self._job, self._rank], self.panel, **QUIET)
        close.click(lambda: gr.Column(visible=False), None, self.panel, **QUIET)

    @property
    def opened(self) -> list[Any]:
        """What `open_for` fills."""
        return [self.panel, self._job, self._title]

    def open_for(self, job_id: str, owner: str) -> tuple[Any, ...]:
        """Show the panel for one job's full model."""
        job = self._services.jobs.job(job_id, owner)
        return gr.Column(visible=True), job.id, f"## Extract a LoRA from {job.name}"

    def _extract(self, job_id: str, rank: float | None, request: gr.Request) -> Any:
        if rank is None:
            raise RequestError("Give a rank, such as 16.")
        owner = self._services.owners.of(request)
        self._services.admit(request)
        self._services.jobs.extract(job_id, owner, int(rank))
        gr.Info("The LoRA is being extracted. The Jobs page says how far it is.")
        return gr.Column(visible=False)

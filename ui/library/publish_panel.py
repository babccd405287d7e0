"""Publishing a concept from the Library: where to, for whom to see, and the token that may do it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.errors import spoken
from ui.listening import QUIET
from ui.publishing import prepare_publication
from ui.services import Services


class PublishPanel:
    """Draws the panel; `asked` fires when a publication was queued."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._job = gr.State("")
        with gr.Column(visible=False, elem_id="publish-panel") as self.panel:
            self._title = gr.Markdown()
            with gr.Row():
                self._repo = gr.Textbox(
                    label="Repository", info="a name, or OWNER/NAME for an organisation", max_length=120, min_width=220
                )
                self._token = gr.Textbox(
                    label="Access token",
                    info="with write access, from huggingface.co/settings/tokens; kept in memory only",
                    type="password",
                    max_length=300,
                    visible=services.tokens.own is None and not services.owners.can_sign_in,
                    min_width=220,
                )
            self._private = gr.Checkbox(value=True, label="Private: only you can see it")
            with gr.Row():
                press = gr.Button("Publish", variant="primary", elem_id="publish")
                close = gr.Button("Not now")
        inputs = [self._job, self._repo, self._token, self._private]
        self.asked = press.click(spoken(self._publish), inputs, [self.panel, self._token], **QUIET)
        close.click(lambda: gr.Column(visible=False), None, self.panel, **QUIET)

    @property
    def opened(self) -> list[Any]:
        """What `open_for` fills."""
        return [self.panel, self._job, self._title, self._repo, self._private]

    def open_for(self, job_id: str, owner: str, *, show: bool = False) -> tuple[Any, ...]:
        """Show the panel for one job's concept; `show`: so that everybody shall see what is private yet."""
        job = self._services.jobs.job(job_id, owner)
        before = self._services.jobs.publishing.of(job.id)
        repo, private = (before.repo_id, before.private and not show) if before else (job.name, True)
        return gr.Column(visible=True), job.id, f"## Publish {job.name} to the Hugging Face Hub", repo, private

    def _publish(
        self,
        job_id: str,
        repo: str | None,
        token: str | None,
        private: bool,  # noqa: FBT001 - a checkbox
        request: gr.Request,
    ) -> tuple[Any, Any]:
        owner = self._services.owners.of(request)
        repo_id = prepare_publication(
            self._services, repo or "", request, private=private, typed_token=token or "", job_id=job_id
        )
        self._services.jobs.publishing.ask(job_id, owner, repo_id, private=private)
        gr.Info(f"It is being published to {repo_id}. The Jobs page says how far it is.")
        return gr.Column(visible=False), ""

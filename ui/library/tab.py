"""The Library: every finished concept, its words, its files, and the way to delete it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.record.publications import UNDER_WAY
from ui.buttons import ACTIONS_JS, UNFOLDED_JS, pressed, unknown_button
from ui.compare_panel import ComparePanel
from ui.errors import spoken
from ui.html import render
from ui.library.add_panel import AddPanel
from ui.library.entries import library_entries
from ui.library.extract_panel import ExtractPanel
from ui.library.publish_panel import PublishPanel
from ui.listening import QUIET
from ui.polling import Drawn, PolledHtml, drawn_or_trouble
from ui.services import Services


class LibraryTab:
    """Draws the page; `chosen` holds the id of the job whose concept somebody wants to try."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.chosen = gr.State("")
        self._add = AddPanel(services)
        self._comparing = ComparePanel(services, "library")
        self.view = PolledHtml(self._draw, rests=True, elem_id="library-shown", js_on_load=ACTIONS_JS + UNFOLDED_JS)
        self._publish, self._extract = PublishPanel(services), ExtractPanel(services)
        outputs = [*self.view.outputs, self.chosen]
        outputs += [*self._publish.opened, *self._extract.opened, *self._comparing.opened]
        self.acted = self.view.shown.click(spoken(self._act), None, outputs, **QUIET)
        for asked in (self._publish.asked, self._extract.asked, self._add.added):
            self.view.refresh_on(asked.success)

    def _draw(self, request: gr.Request) -> Drawn:
        return drawn_or_trouble(self._own_concepts, request)

    def _own_concepts(self, request: gr.Request) -> Drawn:
        owners = self._services.owners
        owner = owners.of(request)
        entries = library_entries(self._services, owner)
        content = render("library.html", entries=entries, could_sign_in=owners.could_sign_in(request))
        publishes = any(e.publication and e.publication.state in UNDER_WAY for e in entries)
        may_come = any(job.is_open for job in self._services.jobs.rows(owner))
        return Drawn(content, goes_on=publishes or may_come, calmly=not publishes)

    def _act(self, event: gr.EventData, request: gr.Request) -> dict[Component, Any]:
        owner = self._services.owners.of(request)
        button = pressed(event)
        job_id = str(button.get("job", ""))
        match button.get("action"):
            case "try":
                return self.view.showing(self._own_concepts(request)) | {
                    self.chosen: self._services.jobs.job(job_id, owner).id
                }
            case "delete":
                self._services.jobs.delete(job_id, owner)
            case "retry-publish":
                self._services.jobs.publishing.retry(job_id, owner)
            case "withdraw":
                self._services.jobs.publishing.withdraw(job_id, owner)
            case "publish" | "make-public" as action:
                opened = self._publish.open_for(job_id, owner, show=action == "make-public")
                return dict(zip(self._publish.opened, opened, strict=True))
            case "extract":
                return dict(zip(self._extract.opened, self._extract.open_for(job_id, owner), strict=True))
            case "compare":
                return dict(zip(self._comparing.opened, self._comparing.open_for(job_id, owner), strict=True))
            case other:
                raise unknown_button(other)
        return self.view.showing(self._own_concepts(request))

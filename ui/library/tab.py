"""The Library: every finished concept, its words, its files, and the way to delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from inference.catalog import Concept, open_concept
from jobs.record.publications import UNDER_WAY, Publication
from trainer.artifact import Manifest
from trainer.bases import public_base_name
from trainer.errors import ConceptError
from trainer.run_folder import RunFolder
from ui.compare_panel import ComparePanel
from ui.errors import spoken, unknown_button
from ui.html import ACTIONS_JS, render
from ui.library.add_panel import AddPanel
from ui.library.extract_panel import ExtractPanel
from ui.library.publish_panel import PublishPanel
from ui.listening import QUIET
from ui.polling import Drawn, PolledHtml, drawn_or_trouble
from ui.services import Services

SAMPLES = 4


@dataclass(frozen=True)
class LibraryEntry:
    """A concept and the job that made it."""

    job: str
    concept: Concept
    samples: list[str]
    is_own: bool
    publication: Publication | None

    @property
    def manifest(self) -> Manifest:
        return self.concept.manifest

    @property
    def base(self) -> str:
        """The base without the folders of this machine."""
        return public_base_name(self.manifest.base.name)

    @property
    def elsewhere(self) -> dict[str, str]:
        """The words that reproduce the concept in other tools, with the tools that read them."""
        readers: dict[str, list[str]] = {}
        for tool, words in (
            ("diffusers", self.manifest.words_in_diffusers),
            ("AUTOMATIC1111", self.manifest.words_in_a1111),
            ("ComfyUI", self.manifest.words_in_comfyui),
        ):
            readers.setdefault(words, []).append(tool)
        return {words: ", ".join(tools) for words, tools in readers.items()}


def library_entries(services: Services, owner: str) -> list[LibraryEntry]:
    """The owner's finished concepts, newest first."""
    entries: list[LibraryEntry] = []
    ended = services.jobs.ended(owner)
    publications = services.jobs.publishing.of_all(job.id for job in ended)
    for job in ended:
        run = services.jobs.run_folder(job.id)
        try:
            concept = open_concept(run.root)
        except ConceptError:
            continue
        own = job.owner == owner
        entries.append(LibraryEntry(job.id, concept, _last_previews(run), own, publications.get(job.id)))
    return entries


def _last_previews(run: RunFolder) -> list[str]:
    by_step = run.previews_by_step()
    newest = by_step[max(by_step)] if by_step else []
    return [run.relative(picture) for picture in newest[:SAMPLES]]


class LibraryTab:
    """Draws the page; `chosen` holds the id of the job whose concept somebody wants to try."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.chosen = gr.State("")
        self._add = AddPanel(services)
        self._comparing = ComparePanel(services, "library")
        self.view = PolledHtml(self._draw, rests=True, elem_id="library-shown", js_on_load=ACTIONS_JS)
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
        entries = library_entries(self._services, owners.of(request))
        content = render("library.html", entries=entries, could_sign_in=owners.could_sign_in(request))
        return Drawn(content, goes_on=any(e.publication and e.publication.state in UNDER_WAY for e in entries))

    def _act(self, event: gr.EventData, request: gr.Request) -> dict[Component, Any]:
        owner = self._services.owners.of(request)
        pressed: dict[str, Any] = event._data  # noqa: SLF001 - gradio's own way to the event's data
        job_id = str(pressed.get("job", ""))
        match pressed.get("action"):
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

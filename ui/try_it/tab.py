"""The Try it page: pick concepts, write a prompt, look at pictures, start again from one of them."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from inference.metadata import PictureSettings
from inference.request import MAX_PROMPT
from trainer.photos.decode import decode_photo
from ui.buttons import pressed, unknown_button
from ui.errors import spoken
from ui.listening import QUIET, QUIET_AT_ONCE
from ui.services import Services
from ui.try_it.concept_fields import ConceptFields, suggested_prompt
from ui.try_it.drawing_panel import HISTORY, DrawingPanel
from ui.try_it.grid_fields import GridFields
from ui.try_it.handlers import TryHandlers
from ui.try_it.sampler_fields import SamplerFields
from ui.try_it.start_picture import check_start_picture
from ui.try_it.tried import is_of_this_version, tried

_SHOW_THE_MAKING = """() => {
  const made = document.getElementById('try-made');
  if (made.getBoundingClientRect().top > innerHeight / 2) made.scrollIntoView({behavior: 'smooth'});
}"""  # on a phone it is below the fields
_SYNTAX = (
    "Write `<name>` for a concept. Stress words with `word++` or `(some words)1.3`, play them down with `word--`. "
    "AUTOMATIC1111's `(word:1.3)` is understood too. Prompts may be long."
)


class TryTab:
    """Draws the page and wires its events; `pick` is what other tabs call to open a concept here.

    `kept` is where the browser remembers what was tried last.
    """

    def __init__(self, services: Services, kept: gr.BrowserState) -> None:
        self._services, self._kept = services, kept
        self._handlers = TryHandlers(services)
        with gr.Row(elem_classes="cs-columns"):
            with gr.Column(scale=4, min_width=320):
                self._draw_prompt()
                self._sampler = SamplerFields(self._handlers.defaults([]))
                self._grid = GridFields()
                with gr.Accordion("Settings from a picture", open=False):
                    self._loaded = gr.File(
                        label="A PNG that was made here", file_types=[".png"], elem_id="try-load", height=110
                    )
            with gr.Column(scale=5, min_width=320, elem_id="try-made"):
                self.drawing = DrawingPanel(services, self._stop)
        self._wire()

    def _draw_prompt(self) -> None:
        self._concepts = ConceptFields()
        self._prompt = gr.Textbox(
            label="Prompt",
            lines=3,
            max_length=MAX_PROMPT,
            placeholder="a photo of <name> on a red background",
            elem_id="try-prompt",
        )
        gr.Markdown(_SYNTAX, elem_classes="cs-small")
        with gr.Row():
            self._count = gr.Number(
                4, minimum=1, maximum=8, precision=0, label="How many", elem_id="try-count", min_width=96
            )
            self._generate = gr.Button("Generate", variant="primary", elem_id="try-generate", min_width=140)
            self._stop = gr.Button("Stop", elem_id="try-stop", min_width=80, interactive=False)
        self._starting = gr.HTML(elem_id="try-starting", elem_classes="cs-small")

    def _wire(self) -> None:
        picked = self._concepts.picked
        drawn_with = [*self._concepts.components, self._prompt, *self._sampler.components, *self._grid.components]
        picked.change(
            spoken(self._show_picked),
            {*self._concepts.components, self._prompt},
            [*self._concepts.shown, self._prompt],
            **QUIET_AT_ONCE,
        )
        picked.input(spoken(self._fit), [picked, self._sampler.fitted_to], self._sampler.fitted, **QUIET_AT_ONCE)
        typed = [picked, self._sampler.base, self._sampler.fitted_to]
        self._sampler.base.blur(spoken(self._fit_base), typed, self._sampler.fitted, **QUIET_AT_ONCE)
        start = self._sampler.init_image
        start.change(spoken(_start_words), start, self._starting, **QUIET_AT_ONCE)
        self._generate.click(None, None, None, js=_SHOW_THE_MAKING, **QUIET)
        self._generate.click(spoken(self._remember), [picked, self._prompt], self._kept, **QUIET_AT_ONCE)
        self._generate.click(
            spoken(self._make),
            {*drawn_with, self._count, self.drawing.count},
            self.drawing.looks,
            **QUIET_AT_ONCE,
            trigger_mode="once",
        )
        restorable = [*drawn_with, self._sampler.fitted_to, self.drawing.making]
        self._loaded.upload(
            spoken(self._restore_uploaded),
            [self._loaded, self._sampler.base],
            [*restorable, self._loaded],
            **QUIET_AT_ONCE,
        )
        pictures, count = self.drawing.pictures, self.drawing.count
        acted = [pictures, count, self._sampler.start, *restorable]
        pictures.click(spoken(self._act), [count, self._sampler.base], acted, **QUIET_AT_ONCE, trigger_mode="multiple")

    def refresh(self, picked: list[str], count: int, request: gr.Request) -> tuple[Any, str]:
        """The concepts that can be picked now, and the history."""
        owner = self._services.owners.of(request)
        choices = self._handlers.choices(owner)
        known = {job for _, job in choices}
        kept = [job for job in picked or [] if job in known]
        history = self.drawing.history(owner, count)
        if kept == (picked or []):  # set again, it would undo a pick that another tab made meanwhile
            return gr.update(choices=choices), history
        return gr.update(choices=choices, value=kept), history

    def _remember(self, concepts: list[str], prompt: str, request: gr.Request) -> dict[str, Any]:
        return tried(concepts, prompt, self._services.owners.of(request))

    def restore(self, kept: Any, count: int, request: gr.Request) -> list[Any]:
        """What was tried last in this browser, for a page that opens.

        Nothing where another version of the page wrote it, or somebody else did who has signed out.
        """
        if not is_of_this_version(kept) or not self._services.owners.remembers(kept["owner"], request):
            kept = tried()
        concepts, history = self.refresh(kept["concepts"], count, request)
        picked = concepts.get("value", kept["concepts"])
        fitted = self._fit(picked, {}, request) if picked else [gr.skip()] * len(self._sampler.fitted)
        return [gr.update(**{**concepts, "value": picked}), history, kept["prompt"], *fitted]

    @property
    def remembered(self) -> list[Component]:
        """What `restore` reads."""
        return [self._kept, self.drawing.count]

    @property
    def restored(self) -> list[Component]:
        """What `restore` fills."""
        return [*self.refreshed, self._prompt, *self._sampler.fitted]

    @property
    def looked_at(self) -> list[Component]:
        """What `refresh` reads."""
        return [self._concepts.picked, self.drawing.count]

    @property
    def refreshed(self) -> list[Component]:
        return [self._concepts.picked, self.drawing.pictures]

    def pick(self, job_id: str, request: gr.Request) -> list[Any]:
        """Pick one concept, from another tab; nothing for the empty id that stands there before and after."""
        if not job_id:
            return [gr.skip()] * len(self.picked)
        owner = self._services.owners.of(request)
        return [gr.update(choices=self._handlers.choices(owner), value=[job_id]), *self._fit([job_id], {}, request)]

    def _show_picked(self, values: dict[Component, Any], request: gr.Request) -> list[Any]:
        """Weights and words for the picked concepts, and a first prompt."""
        entries = self._handlers.describe(values[self._concepts.picked] or [], self._services.owners.of(request))
        suggested = suggested_prompt(entries, values[self._prompt])
        return [*self._concepts.showing(entries, values), gr.skip() if suggested is None else suggested]

    def _fit(self, job_ids: list[str], fitted_to: dict[str, Any], request: gr.Request) -> list[Any]:
        """Settings that suit what a person picked; those that were set by hand or came with a picture stay."""
        entries = self._handlers.describe(job_ids or [], self._services.owners.of(request))
        return self._sampler.fitting(self._handlers.defaults(entries), fitted_to)

    def _fit_base(self, job_ids: list[str], base: str | None, fitted_to: dict[str, Any]) -> list[Any]:
        """The same for a base that was typed, to be tried alone."""
        usual = self._handlers.defaults_of_base(base or "")
        if job_ids or usual["base"] == fitted_to["base"]:
            return [gr.skip()] * len(self._sampler.fitted)
        return self._sampler.fitting(usual, fitted_to)

    @property
    def picked(self) -> list[Component]:
        """What `pick` fills."""
        return [self._concepts.picked, *self._sampler.fitted]

    def _make(self, values: dict[Component, Any], request: gr.Request) -> list[Any]:
        """Ask for pictures; the page looks after them from then on."""
        owner = self._services.owners.of(request)
        fields = self._sampler.of | {"prompt": self._prompt, "count": self._count}
        entered = {name: values[widget] for name, widget in fields.items()}
        token = self._services.owners.token_of(request)
        asked = self._handlers.request(
            values[self._concepts.picked] or [],
            self._concepts.weights(values),
            entered,
            owner,
            hub_token=token,
            one_at_a_time=self._grid.varies_concept(values),
        )
        begun = self.drawing.begin(asked, self._grid.read(values, asked), owner, token)
        return self.drawing.look(begun, values[self.drawing.count], request)

    def _restore_uploaded(self, file: str, base: str, request: gr.Request) -> dict[Component, Any]:
        return {**self._restored(self._handlers.settings_in_file(file), base, request), self._loaded: None}

    def _restored(self, settings: PictureSettings, entered_base: str, request: gr.Request) -> dict[Component, Any]:
        """The page filled with a picture's settings."""
        owner = self._services.owners.of(request)
        found = self._handlers.concepts_of(settings, owner)
        entries = self._handlers.describe(found.jobs, owner)
        base = self._handlers.base_of(settings, entries, entered_base or "")
        usual = self._handlers.defaults(entries) if entries else self._handlers.defaults_of_base(base)
        return {
            **self._sampler.filled(settings, base, usual),
            **self._grid.filled(settings.brought_back_by),
            **self._concepts.filled(self._handlers.choices(owner), found.jobs, found.weights),
            self._prompt: self._handlers.prompt_of(settings, entries),
            self.drawing.making: self._handlers.restored_note(
                found, started_from_picture=settings.strength is not None
            ),
        }

    def _act(self, count: int, base: str, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """A press on one of a picture's buttons, or on the one below them."""
        owner = self._services.owners.of(request)
        button = pressed(event)
        name = str(button.get("name", ""))
        match button.get("action"):
            case "older":
                count += HISTORY
                return {self.drawing.pictures: self.drawing.history(owner, count), self.drawing.count: count}
            case "start":
                picture = decode_photo(self._handlers.picture(name, owner))  # gradio serves no file of the data root
                return {self._sampler.start: gr.update(open=True), self._sampler.init_image: picture}
            case "settings":
                settings = self._handlers.settings_in_file(str(self._handlers.picture(name, owner)))
                return self._restored(settings, base, request)
            case "delete":
                self._handlers.delete(name, owner)
                return {self.drawing.pictures: self.drawing.history(owner, count)}
            case other:
                raise unknown_button(other)


def _start_words(picture: str | None) -> str:
    """A picture to start from lies in a folded part of the page, and would be forgotten there."""
    if not picture:
        return ""
    check_start_picture(picture)
    return "Starts from your picture; take it out below to draw from the prompt alone."

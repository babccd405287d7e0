"""The Train page: photos, what they show, how it should learn, and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.example import Example
from trainer.bases import PINNED, STARTER_FOLDER, base_name, inspect_base
from trainer.errors import RequestError
from trainer.recipe.choices import DEFAULT_CLASS_WORD, STARTER, Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.presets import preset_values
from ui.errors import spoken
from ui.forms import RecipeForm, class_word_for
from ui.keeping_notice import draw_keeping_notice
from ui.listening import QUIET
from ui.services import Services
from ui.train.handlers import (
    ADAPTER,
    DREAMBOOTH,
    FULL,
    TEXTUAL_INVERSION,
    Choices,
    TrainHandlers,
    chosen_method,
    shown_method,
)
from ui.train.money_fields import MoneyFields
from ui.train.photos_panel import PhotosPanel, build_photos_panel
from ui.train.place_panel import PlacePanel
from ui.train.publish_fields import PublishFields
from ui.train.queueing import Press
from ui.train.recipe_upload import RecipeUpload
from ui.train.remembered import RememberedFields
from ui.train.second_method import PairHandlers, SecondMethodFields


class TrainTab:
    """Draws the page and wires its events; what is public is what the layout connects to other tabs."""

    def __init__(self, services: Services, page: gr.Blocks) -> None:
        self._services, self._page = services, page
        first = preset_values(Method.dreambooth_lora, Kind.object, inspect_base(STARTER_FOLDER))
        self._preset = gr.State(_shown_preset(Method.dreambooth_lora, first))
        self._form = RecipeForm(Method.dreambooth_lora, first, own_machine=services.owners.single)
        self._handlers = TrainHandlers(services, self._form)
        self._pair = PairHandlers(services, self._form, self._handlers)
        self.submitted = gr.State("")
        draw_keeping_notice(services, page)
        with gr.Row(elem_classes="cs-columns"):
            with gr.Column(scale=5, min_width=320):
                self._photos = self._draw_subject()
            with gr.Column(scale=4, min_width=320):
                self._draw_method()
        self._words = {
            "kind": self._kind,
            "name": self._name,
            "class_word": self._class_word,
            "way": self._way,
            "form": self._dreambooth_as,
            "base": self._base,
        }
        self._remembered = RememberedFields(services, self._words, page)
        self._wire()

    def _draw_subject(self) -> PhotosPanel:
        gr.Markdown("## 1 · Photos")
        photos = build_photos_panel(self._services, self._page)
        gr.Markdown("## 2 · What is it?")
        self._kind = gr.Radio(
            [kind.value for kind in Kind], value=Kind.object.value, label="The photos show a", elem_id="kind"
        )
        with gr.Row():
            self._name = gr.Textbox(label="Name", placeholder="red-mug", max_length=60, elem_id="name", min_width=160)
            self._class_word = gr.Textbox(
                DEFAULT_CLASS_WORD[Kind.object],
                label="It is a",
                placeholder="mug",
                max_length=60,
                elem_id="class-word",
                min_width=160,
            )
        self._name_note = gr.HTML(elem_id="name-note", elem_classes="cs-small")
        return photos

    def _draw_method(self) -> None:
        gr.Markdown("## 3 · How should it learn?")
        self._way = gr.Radio(
            [DREAMBOOTH, TEXTUAL_INVERSION],
            value=DREAMBOOTH,
            label="How should it learn?",
            show_label=False,
            elem_id="way",
            elem_classes="cs-cards",
        )
        self._dreambooth_as = gr.Radio(
            [ADAPTER, FULL],
            value=ADAPTER,
            label="DreamBooth as",
            elem_id="dreambooth-form",
            elem_classes="cs-cards",
        )
        self._guide = gr.HTML(elem_id="methods")
        first = Choices(name="", kind=Kind.object, class_word="", method=Method.dreambooth_lora, base=STARTER)
        self._second = SecondMethodFields(first.method, self._pair.preset_steps(first))
        self._base = gr.Dropdown(
            [
                ("Demo model: small, trains on any machine", STARTER),
                *((f"{name.split('/')[1]}: needs a GPU", name) for name in PINNED),
            ],
            value=STARTER,
            label="Base model",
            info="or type a Hub id" + (", a folder or a .safetensors file" if self._services.owners.single else ""),
            allow_custom_value=True,
            elem_id="base",
        )
        self._place = PlacePanel(self._services)
        gr.Markdown("## 4 · Plan")
        self._plan = gr.HTML(elem_id="plan")
        with gr.Row():
            self._form.draw(["steps", "learning_rate"])
        with gr.Accordion("Advanced settings", open=False, elem_id="advanced"), gr.Row(elem_classes="cs-grid"):
            self._form.draw(advanced=False)
            self._form.draw(advanced=True)
        self._recipe_file = RecipeUpload(self._services)
        self._publish = PublishFields(self._services)
        self._money = MoneyFields(self._services, self._page)
        self.train = gr.Button("Train", variant="primary", size="lg", elem_id="train")

    def _wire(self) -> None:
        # One listener for all that follows from all fields, and the last change counts: of several, an early one may
        # answer last. Nor may an event have two that are "always_last": for each that was busy gradio repeats the whole
        # event, so they keep each other busy for ever. A dropdown's `input` comes with every visit, too; its `change`
        # only when something else was chosen.
        gr.on(
            [self._remembered.restored.change, *(component.change for component in self._inputs)],
            spoken(self._follow),
            {*self._inputs, self._preset, self._second.offered},
            [
                *(self._dreambooth_as, self._preset, *self._form.components),
                *(*self._second.opened, self.train),
                *(self._plan, self._guide),
                self._remembered.kept,
            ],
            trigger_mode="always_last",
            **QUIET,
        )
        gr.on(  # apart, because a plan may wait for the Hub
            [self._name.change, self._base.change],
            spoken(self._handlers.name_check),
            [self._name, self._base],
            self._name_note,
            trigger_mode="multiple",
            **QUIET,
        )
        self._kind.input(class_word_for, [self._kind, self._class_word], self._class_word, **QUIET)
        for example, button in self._photos.examples:
            button.click(_filled_with(example), None, [self._kind, self._name, self._class_word], **QUIET)
        self._recipe_file.button.upload(
            spoken(self._take_recipe),
            {*self._inputs, self._recipe_file.button},
            [*self._filled, self._recipe_file.note],
            **QUIET,
        )
        self.pressed = self.train.click(
            spoken(self._submit),
            {*self._inputs, self._preset, self._photos.draft, *self._publish.components, *self._money.components},
            [self.submitted, self._photos.draft, self._photos.shown, *self._publish.of_one_concept],
            **QUIET,  # an error would be shown on the photos, whatever it is of
            trigger_mode="once",
        )

    @property
    def _inputs(self) -> list[Any]:
        """What is entered, apart from photos and money."""
        return [
            *self._words.values(),
            *self._form.components,
            *self._second.components,
            *self._place.components,
        ]

    def _entered(self, values: Mapping[Component, Any], request: gr.Request) -> tuple[Choices, dict[str, Any]]:
        choices = Choices(
            name=values[self._name] or "",
            kind=Kind(values[self._kind]),
            class_word=values[self._class_word] or "",
            method=chosen_method(values[self._way], values[self._dreambooth_as]),
            base=base_name(values[self._base] or "") or STARTER,
            hub_token=self._services.owners.token_of(request),
        )
        return choices, {name: values[widget] for name, widget in self._form.widgets.items()}

    def _follow(self, values: dict[Component, Any], request: gr.Request) -> list[Any]:
        """All that follows from what is entered: the preset, what is offered besides, and the plan."""
        choices, entered = self._entered(values, request)
        return [
            *self._choose(values, choices),
            *self._offer_second(values, choices),
            *self._tell_plan(values, choices, entered),
            self._remembered.to_keep(values, request),
        ]

    @property
    def own_photos(self) -> Component:
        return self._photos.own

    @property
    def following(self) -> list[Any]:
        return self._photos.following

    @property
    def refilled(self) -> list[Component]:
        """What `refill` fills."""
        return [self._photos.draft, self._photos.shown, *self._filled]

    @property
    def _filled(self) -> list[Component]:
        """What a recipe says."""
        return [*self._words.values(), self._preset, *self._form.components]

    def refill(self, job_id: str, own: str, request: gr.Request) -> list[Any]:
        """The page with a job's photos, words and settings, to train once more; nothing for the empty id.

        The preset counts as shown already: so what differs from it stays.
        """
        if not job_id:
            return [gr.skip()] * len(self.refilled)
        run = self._services.jobs.run_folder(self._services.jobs.job(job_id, self._services.owners.of(request)).id)
        recipe = run.read_recipe()
        draft, shown = self._photos.handlers.take_run(run, own, request)
        return [draft, shown, *self._fill(recipe, recipe.name, self._services.owners.token_of(request))]

    def _fill(self, recipe: TrainConfig, name: str, hub_token: str | None) -> list[Any]:
        way, form = shown_method(recipe.method)
        choices = Choices(name, recipe.kind, recipe.class_word, recipe.method, recipe.base, hub_token)
        return [
            *(recipe.kind.value, name, recipe.class_word, way),
            *(gr.update(value=form, visible=way == DREAMBOOTH), recipe.base),
            self._shown_for(choices),
            *self._form.fill(recipe),
        ]

    def _take_recipe(self, values: dict[Component, Any], request: gr.Request) -> list[Any]:
        """The page with a recipe file's words and settings; with what is wrong with it, and all else as it was."""
        choices, _ = self._entered(values, request)
        recipe, name, note = self._recipe_file.read(values[self._recipe_file.button], choices)
        if recipe is None:
            return [*[gr.skip()] * len(self._filled), note]
        return [*self._fill(recipe, name, choices.hub_token), note]

    def _choose(self, values: dict[Component, Any], choices: Choices) -> list[Any]:
        """The preset for what was chosen; where it is the one that is shown already, what was changed in it stays."""
        earlier, shown = values[self._preset], self._shown_for(choices)
        if shown == earlier:
            return [gr.skip()] * (2 + len(self._form.components))
        of_dreambooth = gr.update(visible=values[self._way] == DREAMBOOTH)
        fields = self._form.show(choices.method, shown, before=Method(earlier["method"]), values_before=earlier)
        return [of_dreambooth, shown, *fields]

    def _shown_for(self, choices: Choices) -> dict[str, Any]:
        return _shown_preset(choices.method, self._handlers.preset_of(choices))

    def _offer_second(self, values: dict[Component, Any], choices: Choices) -> list[Any]:
        fields = self._second.show(values, choices.method, self._pair.preset_steps(choices))
        return [*fields, gr.update(value="Train both" if self._second.wanted(values) else "Train")]

    def _tell_plan(self, values: dict[Component, Any], choices: Choices, entered: dict[str, Any]) -> tuple[str, str]:
        flavor = self._place.flavor(values)
        plan = self._handlers.plan(choices, entered, flavor)
        if (second := self._second.read(values)) is not None:
            plan += self._pair.plan(choices, entered, second, flavor)
        return plan, self._handlers.method_guide(choices)

    def _submit(self, values: dict[Component, Any], request: gr.Request) -> list[Any]:
        choices, entered = self._entered(values, request)
        if values[self._preset] != self._shown_for(choices):
            raise RequestError("The settings for what you chose are on their way. Look at the plan, then press again.")
        second = self._second.read(values)
        press = Press(
            values[self._photos.draft],
            publish=self._publish.read(values),
            money=self._money.read(values),
            flavor=self._place.flavor(values),
        )
        submit = self._handlers.submit if second is None else partial(self._pair.submit, second)
        job = submit(choices, entered, press, request)
        draft, shown = self._photos.handlers.next_draft()
        return [job, draft, shown, *self._publish.for_the_next_concept()]


def _shown_preset(method: Method, preset: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows before anybody changes it, to be remembered."""
    return {"method": method.value, **preset}


def _filled_with(example: Example) -> Any:
    return lambda: (example.kind.value, example.name, example.class_word)

"""The option to train a second method on the same photos: its fields on the Train page, its plan, and both jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from jobs.record.bill import dollars
from trainer.disk_need import check_disk
from trainer.errors import HubError, Problem, RecipeError, RequestError
from trainer.recipe.choices import Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.presets import preset_values
from ui.forms import RecipeForm
from ui.html import render
from ui.method_words import METHOD_WORDS
from ui.services import Services
from ui.train.handlers import Choices, TrainHandlers, disk_words, size_words
from ui.train.queueing import Press, Queueing

_PROPOSED = {
    Method.textual_inversion: Method.dreambooth_lora,
    Method.dreambooth_lora: Method.textual_inversion,
    Method.dreambooth: Method.textual_inversion,
}
# What both have in common, so that they differ by their method; the rest is the second method's own preset.
_SHARED = (
    *("seed", "resolution_px", "precision", "base_prediction", "variants_per_photo", "mirror"),
    *("preview_count", "preview_prompt"),
)


@dataclass(frozen=True)
class SecondMethod:
    """What was entered: which other method is to be trained, for how many steps."""

    method: Method
    steps: float | None


class SecondMethodFields:
    """Draws the fields.

    `components` are what a handler must be given to ask `read`, and with `offered` to ask `show`, which fills `opened`.
    `first` and `steps_of` are what is chosen at first, and the presets' steps for that.
    """

    def __init__(self, first: Method, steps_of: Mapping[Method, int]) -> None:
        proposed = _PROPOSED[first]
        self._wanted = gr.Checkbox(label="Train a second method on the same photos and compare", elem_id="compare")
        with gr.Row(visible=False) as self._fields:
            self._method = gr.Dropdown(
                [(words, method) for method, words in METHOD_WORDS.items()],
                value=proposed.value,
                label="Compare with",
                info="same photos, same seed",
                elem_id="compare-with",
                min_width=200,
                filterable=False,
            )
            self._steps = gr.Number(
                steps_of[proposed],
                label="Its steps",
                info="the rest is its preset",
                elem_id="compare-steps",
                min_width=140,
            )
        self.offered = gr.State(_offer(proposed, steps_of, wanted=False))

    @property
    def components(self) -> list[Component]:
        return [self._wanted, self._method, self._steps]

    @property
    def opened(self) -> list[Any]:
        return [self._fields, self._method, self._steps, self.offered]

    def wanted(self, values: Mapping[Component, Any]) -> bool:
        return bool(values[self._wanted])

    def read(self, values: Mapping[Component, Any]) -> SecondMethod | None:
        """None where one method is all that is wanted."""
        if not self.wanted(values):
            return None
        return SecondMethod(Method(values[self._method]), values[self._steps])

    def show(self, values: Mapping[Component, Any], first: Method, steps_of: Mapping[Method, int]) -> list[Any]:
        """Updates of `opened`: another method than the first, and the preset's steps of it.

        What is shown already is left alone, so that no answer undoes what was typed meanwhile. All methods stay in the
        list: a value that an update has just taken out of it would fail on its way here.
        """
        before = Method(values[self._method])
        chosen = before if before is not first else _PROPOSED[first]
        earlier, offer = values[self.offered], _offer(chosen, steps_of, wanted=self.wanted(values))
        same_steps = (earlier["method"], earlier["steps"]) == (offer["method"], offer["steps"])
        return [
            gr.skip() if earlier["wanted"] == offer["wanted"] else gr.update(visible=offer["wanted"]),
            gr.skip() if chosen is before else gr.update(value=offer["method"]),
            gr.skip() if same_steps else gr.update(value=offer["steps"]),
            offer,
        ]


def _offer(method: Method, steps_of: Mapping[Method, int], *, wanted: bool) -> dict[str, Any]:
    """What the fields show before anybody types, to be remembered."""
    return {"wanted": wanted, "method": method.value, "steps": steps_of[method]}


class PairHandlers:
    """What the Train page does for two methods. What concerns the first is asked of `single`."""

    def __init__(self, services: Services, form: RecipeForm, single: TrainHandlers) -> None:
        self._services, self._form, self._single = services, form, single
        self._queueing = Queueing(services)

    def preset_steps(self, choices: Choices) -> dict[Method, int]:
        """The preset's steps of each method for what is entered."""
        return {m: self._single.preset_of(replace(choices, method=m))["steps"] for m in Method}

    def recipe(self, choices: Choices, entered: Mapping[str, Any], second: SecondMethod) -> TrainConfig:
        """The second method's recipe. Raises RecipeError or RequestError, as the first one's does."""
        if second.method is choices.method:
            raise RequestError("Choose two different methods to compare.")
        other = replace(choices, method=second.method)
        preset = preset_values(other.method, other.kind, self._single.traits(other, entered["base_prediction"]))
        own = {name: preset.get(name, field.default) for name, field in self._form.fields.items()}
        shared = {name: entered[name] for name in _SHARED}
        return self._single.recipe(other, own | shared | {"steps": second.steps})

    def plan(
        self, choices: Choices, entered: Mapping[str, Any], second: SecondMethod, flavor: str | None = None
    ) -> str:
        """What the second method adds to the plan; nothing while something is wrong with the first."""
        choices = replace(choices, name=choices.name.strip() or "unnamed")
        try:
            first = self._single.recipe(choices, entered)
        except RequestError:
            return ""
        words = METHOD_WORDS[second.method.value]
        try:
            recipe = self.recipe(choices, entered, second)
            seconds, cost = self._cost(recipe, flavor)
            first_seconds, _ = self._cost(first, flavor)
            if flavor is None:
                self._services.check_precision(recipe)
                check_disk(recipe, self._services.jobs.runs_dir)
        except RecipeError as error:
            return render("second_plan.html", method=words, problems=error.problems)
        except (RequestError, HubError) as error:
            return render("second_plan.html", method=words, problems=[Problem("machine", str(error))])
        both = seconds + first_seconds if seconds is not None and first_seconds is not None else None
        return render(
            "second_plan.html",
            method=words,
            problems=[],
            steps=recipe.steps,
            seconds=seconds,
            both=both,
            size=size_words(recipe),
            disk=disk_words(recipe) if flavor is None else "",
            cost=cost,
        )

    def _cost(self, recipe: TrainConfig, flavor: str | None) -> tuple[float | None, str]:
        """How long a training takes and what it costs, where it is to run."""
        if flavor is None or self._services.remote is None:
            seconds = self._services.jobs.speeds.seconds_for(recipe)
            return seconds, self._services.spending.plan(seconds).words
        quote = self._services.remote.quote(recipe, flavor)
        return quote.seconds, f"at most {dollars(quote.most_usd)}"

    def submit(
        self,
        second: SecondMethod,
        choices: Choices,
        entered: Mapping[str, Any],
        press: Press,
        request: gr.Request,
    ) -> str:
        """Queue both jobs, or neither; returns the first one's id. A second press for the draft is the same pair."""
        owner = self._queueing.admit(choices.base, choices.hub_token, press, request)
        recipes = self._single.recipe(choices, entered), self.recipe(choices, entered, second)
        return self._queueing.queue(owner, recipes, press, request)

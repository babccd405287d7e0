"""What the Train page does: reads what was entered, says what it means, and queues the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from jobs.record.state import JobState
from jobs.submission.known_words import base_knows
from trainer.bases import BaseTraits
from trainer.concept import check_name
from trainer.disk_need import check_disk, result_bytes, training_bytes
from trainer.errors import HubError, Problem, RecipeError, RequestError
from trainer.recipe.choices import Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.evidence import evidence_for
from trainer.recipe.presets import preset_recipe, preset_values
from trainer.recipe.recipe_file import class_pictures_folder
from ui.forms import RecipeForm
from ui.html import file_size, render
from ui.method_words import METHOD_GLANCES
from ui.services import Services
from ui.train.memory_plan import memory_here, memory_there
from ui.train.queueing import Press, Queueing

DREAMBOOTH, TEXTUAL_INVERSION = "DreamBooth", "Textual inversion"
ADAPTER, FULL = "adapter (LoRA)", "full model"
FULL_SIZE_WIDTH = 768  # of the text states that Stable Diffusion 1.x attends to; 2.x has 1024
_LITTLE_DISK_BYTES = 10**9


def chosen_method(way: str, form: str) -> Method:
    """The method that the two choices of the page mean."""
    if way == TEXTUAL_INVERSION:
        return Method.textual_inversion
    return Method.dreambooth if form == FULL else Method.dreambooth_lora


def shown_method(method: Method) -> tuple[str, str]:
    """The two choices of the page that mean a method."""
    way = TEXTUAL_INVERSION if method is Method.textual_inversion else DREAMBOOTH
    return way, FULL if method is Method.dreambooth else ADAPTER


@dataclass(frozen=True)
class Choices:
    """What is entered on the page, besides the recipe's own fields."""

    name: str
    kind: Kind
    class_word: str
    method: Method
    base: str
    hub_token: str | None = field(default=None, repr=False)
    """Of who signed in: it reads bases that are gated or private."""


class TrainHandlers:
    """What the Train page does."""

    def __init__(self, services: Services, form: RecipeForm) -> None:
        self._services, self._form = services, form
        self._queueing = Queueing(services)

    def traits(self, choices: Choices, prediction: str | None = None) -> BaseTraits:
        """The chosen base's traits. Raises BaseModelError, in words, for one that cannot be used."""
        reference = self._services.owners.find_base(choices.base, prediction)
        return self._services.traits_of(reference, choices.hub_token)

    def recipe(self, choices: Choices, entered: Mapping[str, Any]) -> TrainConfig:
        """The recipe as entered. Raises RecipeError with all problems."""
        values = self._form.read(choices.method, entered)
        traits = self.traits(choices, values.get("base_prediction"))
        reference = self._services.owners.find_base(choices.base)
        if reference.on_hub and not values.get("base_revision"):
            values["base_revision"] = self._services.bases.check(reference, choices.hub_token).commit
        if values.get("class_images_dir"):  # only the machine's owner has a field for it
            values["class_images_dir"] = class_pictures_folder(values["class_images_dir"])
        return preset_recipe(
            choices.method,
            choices.kind,
            traits,
            name=choices.name.strip(),
            base=reference.name,
            **(values | {"class_word": choices.class_word.strip()}),
        )

    def plan(self, choices: Choices, entered: Mapping[str, Any], flavor: str | None = None) -> str:
        """The plan in words, or what is still wrong; `flavor` is a machine at Hugging Face.

        A name that was not typed yet is not a mistake.
        """
        named = bool(choices.name.strip())
        try:
            recipe = self.recipe(choices if named else replace(choices, name="unnamed"), entered)
        except RecipeError as error:
            return render("plan.html", problems=error.problems)
        except RequestError as error:
            return render("plan.html", problems=[Problem("base", str(error))])
        if flavor is not None:
            return self._remote_plan(recipe, flavor, choices, named=named)
        try:
            self._services.check_precision(recipe)
            check_disk(recipe, self._services.jobs.runs_dir)
        except RecipeError as error:
            return render("plan.html", problems=error.problems)
        except RequestError as error:
            return render("plan.html", problems=[Problem("disk", str(error))])
        estimate = self._services.jobs.speeds.estimate(recipe)
        seconds = estimate.seconds if estimate is not None else None
        ahead, ahead_s = self._services.jobs.ahead()
        traits = self.traits(choices, recipe.base_prediction)
        return render(
            "plan.html",
            problems=[],
            download=self._download_bytes(choices),
            slow=traits.text_width >= FULL_SIZE_WIDTH and estimate is None and self._services.only_cpu,
            steps=recipe.steps,
            seconds=seconds,
            measured=estimate is not None and estimate.measured,
            size=size_words(recipe),
            memory=memory_here(self._services, recipe, traits),
            disk=disk_words(recipe),
            ahead=ahead,
            ahead_s=ahead_s,
            named=named,
            cost=self._services.spending.plan(seconds),
        )

    def _download_bytes(self, choices: Choices) -> int:
        """How much of the base is not here yet."""
        reference = self._services.owners.find_base(choices.base)
        return self._services.bases.check(reference, choices.hub_token).download_bytes if reference.on_hub else 0

    def method_guide(self, choices: Choices) -> str:
        """The methods at one glance: what each learns, its result's size, its time on this machine, its use."""
        try:
            traits = self.traits(choices)
        except RequestError:
            traits = None  # the plan says what is wrong with the base
        rows = [self._glance(method, choices, traits) for method in METHOD_GLANCES]
        evidence = evidence_for(choices.method, choices.kind, traits)
        return render("methods.html", rows=rows, chosen=choices.method, evidence=evidence)

    def _glance(self, method: Method, choices: Choices, traits: BaseTraits | None) -> dict[str, Any]:
        recipe = preset_recipe(method, choices.kind, traits, name="unnamed", base=choices.base)
        seconds = self._services.jobs.speeds.seconds_for(recipe)
        return {"method": method, "size": result_bytes(recipe), "seconds": seconds, **METHOD_GLANCES[method]}

    def _remote_plan(self, recipe: TrainConfig, flavor: str, choices: Choices, *, named: bool) -> str:
        assert self._services.remote is not None  # or no machine there could be chosen
        try:
            quote = self._services.remote.quote(recipe, flavor)
        except (RequestError, HubError) as error:
            return render("plan.html", problems=[Problem("machine", str(error))])
        memory = memory_there(quote, recipe, self.traits(choices, recipe.base_prediction))
        size = size_words(recipe)
        return render("remote_plan.html", steps=recipe.steps, quote=quote, size=size, memory=memory, named=named)

    def preset_of(self, choices: Choices) -> dict[str, Any]:
        """The preset for the chosen method, kind and base; a full-size model's while the base cannot be read."""
        try:
            traits = self.traits(choices)
        except RequestError:
            traits = None
        return preset_values(choices.method, choices.kind, traits)

    def name_check(self, name: str, base: str, request: gr.Request) -> str:
        """What a name means to the base and to the visitor's own concepts, as it is typed."""
        name = name.strip()
        if not name:
            return "A short, made-up word works best, such as <code>red-mug-anna</code>."
        try:
            check_name(name)
        except RequestError as error:
            return Markup("<span class='cs-bad'>{}</span>").format(str(error))
        known = self._base_knows(base, name)
        if known:
            return Markup(
                "<span class='cs-warn'>“{}” is a word that the model knows. It works, but its old meaning will shine "
                "through.</span>"
            ).format(name)
        mark = "" if known is None else "✓ "  # where nothing here tells, training says it
        words = Markup("{}In prompts you write <code>{}</code>.").format(mark, f"<{name}>")
        ended = self._services.jobs.ended(self._services.owners.of(request))
        if any(job.name == name and job.state is JobState.finished for job in ended):
            words += Markup(
                " <span class='cs-warn'>You have a concept of this name. In a picture of both, the second is "
                "<code>{}</code>.</span>"
            ).format(f"<{name}-2>")
        return words

    def _base_knows(self, base: str, word: str) -> bool | None:
        owners = self._services.owners
        try:
            return base_knows(owners.find_base(base), word, shared=not owners.single)
        except RequestError:
            return None  # the plan says what is wrong with the base

    def submit(self, choices: Choices, entered: Mapping[str, Any], press: Press, request: gr.Request) -> str:
        """Queue the job, and its publication if asked for. A second press for the same draft is the same job."""
        owner = self._queueing.admit(choices.base, choices.hub_token, press, request)
        return self._queueing.queue(owner, [self.recipe(choices, entered)], press, request)


def size_words(recipe: TrainConfig) -> str:
    """About how large the result will be, to be read."""
    return f"about {file_size(result_bytes(recipe))}"


def disk_words(recipe: TrainConfig) -> str:
    """About how much disk a training takes meanwhile, to be read; empty where that is little."""
    needed = training_bytes(recipe)
    return f"about {file_size(needed)} of disk while it trains" if needed > _LITTLE_DISK_BYTES else ""

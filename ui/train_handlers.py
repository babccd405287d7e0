"""What the Train page does: reads what was entered, says what it means, and queues the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from trainer.bases import STARTER_FOLDER, BaseTraits, find_base, inspect_base, knows_word
from trainer.concept import check_name
from trainer.config import STARTER, Kind, Method, TrainConfig
from trainer.errors import HubError, Problem, RecipeError, RequestError
from trainer.photos import PhotoSet
from trainer.presets import artifact_bytes, preset_recipe, preset_values
from ui.forms import RecipeForm
from ui.html import file_size, render
from ui.photos_panel import photos_html
from ui.publishing import prepare_publication
from ui.remote import prepare_remote
from ui.services import Services

DREAMBOOTH, TEXTUAL_INVERSION = "DreamBooth", "Textual inversion"
ADAPTER, FULL = "adapter (LoRA)", "full model"
METHOD_WORDS = {
    Method.textual_inversion.value: "textual inversion",
    Method.dreambooth_lora.value: "DreamBooth adapter",
    Method.dreambooth.value: "DreamBooth full model",
}


def chosen_method(way: str, form: str) -> Method:
    """The method that the two choices of the page mean."""
    if way == TEXTUAL_INVERSION:
        return Method.textual_inversion
    return Method.dreambooth if form == FULL else Method.dreambooth_lora


@dataclass(frozen=True)
class Choices:
    """What is entered on the page, besides the recipe's own fields."""

    name: str
    kind: Kind
    class_word: str
    method: Method
    base: str


class TrainHandlers:
    """What the Train page does."""

    def __init__(self, services: Services, form: RecipeForm) -> None:
        self._services, self._form = services, form

    def traits(self, base: str) -> BaseTraits:
        """The base's traits. Raises BaseModelError, in words, for one that cannot be used."""
        reference = find_base(base.strip() or STARTER)
        if reference.folder is not None and base != STARTER and not self._services.owners.single:
            raise RequestError("On a shared page a base is the demo model or a Hub id, not a folder.")
        return inspect_base(reference.folder) if reference.folder else self._services.bases.check(reference).traits

    def recipe(self, choices: Choices, entered: Mapping[str, Any]) -> TrainConfig:
        """The recipe as entered. Raises RecipeError with all problems."""
        traits = self.traits(choices.base)
        values = self._form.read(choices.method, entered)
        reference = find_base(choices.base)
        if reference.on_hub and not values.get("base_revision"):
            values["base_revision"] = self._services.bases.check(reference).commit
        return preset_recipe(
            choices.method,
            choices.kind,
            traits,
            name=choices.name.strip(),
            base=choices.base,
            **(values | {"class_word": choices.class_word.strip()}),
        )

    def plan(self, choices: Choices, entered: Mapping[str, Any], flavor: str | None = None) -> str:
        """The plan in words, or what is still wrong; `flavor` is a machine at Hugging Face."""
        try:
            recipe = self.recipe(choices, entered)
        except RecipeError as error:
            return render("plan.html", problems=_without_empty_name(error, choices), **_NO_PLAN)
        except RequestError as error:
            return render("plan.html", problems=[Problem("base", str(error))], **_NO_PLAN)
        if flavor is not None:
            return self._remote_plan(recipe, flavor)
        estimate = self._services.jobs.speeds.estimate_s(recipe)
        ahead, ahead_s = self._services.jobs.ahead()
        return render(
            "plan.html",
            problems=[],
            steps=recipe.steps,
            seconds=estimate[0] if estimate else None,
            measured=bool(estimate and estimate[1]),
            size=_size_words(recipe),
            ahead=ahead,
            ahead_s=ahead_s,
        )

    def _remote_plan(self, recipe: TrainConfig, flavor: str) -> str:
        assert self._services.remote is not None  # or no machine there could be chosen
        try:
            quote = self._services.remote.quote(recipe, flavor)
        except (RequestError, HubError) as error:
            return render("plan.html", problems=[Problem("machine", str(error))], **_NO_PLAN)
        return render("remote_plan.html", steps=recipe.steps, quote=quote, size=_size_words(recipe))

    def preset(self, choices: Choices) -> list[Any]:
        """Updates of the form for the chosen method, kind and base."""
        try:
            traits = self.traits(choices.base)
        except RequestError:
            traits = inspect_base(STARTER_FOLDER)
        return self._form.show(choices.method, preset_values(choices.method, choices.kind, traits))

    def name_check(self, name: str, base: str) -> str:
        """What a name means to the base, as it is typed."""
        name = name.strip()
        if not name:
            return "A short, made-up word works best, such as <code>red-mug-anna</code>."
        try:
            check_name(name)
        except RequestError as error:
            return Markup("<span class='cs-bad'>{}</span>").format(str(error))
        folder = _folder_of(base)
        if folder is not None and knows_word(folder, name):
            return Markup(
                "<span class='cs-warn'>“{}” is a word that the model knows. It works, but its old meaning will shine "
                "through.</span>"
            ).format(name)
        return Markup("✓ In prompts you write <code>{}</code>.").format(f"<{name}>")

    def submit(
        self,
        choices: Choices,
        entered: Mapping[str, Any],
        draft: str,
        request: gr.Request,
        *,
        publish: bool,
        flavor: str | None = None,
    ) -> str:
        """Queue the job, and its publication if asked for. A second press for the same draft is the same job."""
        owner = self._services.owners.of(request)
        recipe = self.recipe(choices, entered)
        if not draft:
            raise RequestError("Add some photos first.")
        repo_id = prepare_publication(self._services, recipe.name, request) if publish else None
        remote = prepare_remote(self._services, recipe, flavor, request) if flavor is not None else None
        job = self._services.jobs.submit(
            owner,
            recipe,
            lambda folder: self._services.drafts.copy_to(owner, draft, folder),
            press_id=draft,
            remote=remote,
        )
        if repo_id is not None:
            self._services.jobs.publishing.ask(job.id, owner, repo_id, private=True)
        self._services.drafts.discard(owner, draft)
        return job.id

    def next_draft(self) -> tuple[str, str]:
        """A new, empty draft for the next concept."""
        draft = self._services.drafts.new_id()
        return draft, photos_html(draft, PhotoSet(()))


def _size_words(recipe: TrainConfig) -> str:
    """How large the result will be."""
    starter = recipe.base == STARTER
    size = artifact_bytes(
        recipe.method, starter=starter, rank=getattr(recipe, "rank", 16), vectors=getattr(recipe, "vectors", 4)
    )
    return f"about {file_size(size)}"


_NO_PLAN: dict[str, Any] = dict.fromkeys(("steps", "seconds", "measured", "size", "ahead", "ahead_s"))


def _without_empty_name(error: RecipeError, choices: Choices) -> list[Problem]:
    """A name that was not typed yet is not a mistake."""
    if choices.name.strip():
        return list(error.problems)
    others = [p for p in error.problems if p.field != "name"]
    return others or [Problem("name", "give it a name")]


def _folder_of(base: str) -> Path | None:
    try:
        return find_base(base).folder
    except RequestError:
        return None


def method_words(way: str, form: str) -> str:
    """One glance: what is learnt, how large the result is, what it is good at."""
    match chosen_method(way, form):
        case Method.textual_inversion:
            return "Learns new words; the model stays as it is. Kilobytes; many combine in one prompt. Good for styles."
        case Method.dreambooth_lora:
            return "Learns small additions to the model. Megabytes; combine, with weights. The usual choice."
        case Method.dreambooth:
            return "Learns the whole model anew around your subject. As large as the base; the most faithful likeness."

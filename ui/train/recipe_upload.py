"""Settings from a recipe file: what a job's Recipe button, a command line or a program wrote comes back to the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import RecipeError, StudioError
from trainer.recipe.config import TrainConfig
from trainer.recipe.recipe_file import LONGEST_RECIPE, read_fields
from ui.html import render
from ui.services import Services
from ui.serving.uploads import release
from ui.train.handlers import Choices
from ui.train.visitors_recipe import visitors_recipe


class RecipeUpload:
    """Draws the button, and below it what came of a file."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.button = gr.UploadButton(
            "Settings from a recipe file", file_types=[".yaml", ".yml", ".json"], size="sm", elem_id="recipe-file"
        )
        self.note = gr.HTML(elem_id="recipe-note", elem_classes="cs-small")

    def read(self, file: str, choices: Choices) -> tuple[TrainConfig | None, str, str]:
        """The recipe of a file, the name that the page shows then, and a note; no recipe for a file that is none.

        Of the page's words those that the file does not say stay, as on a command line; other settings that it does not
        say are the preset's.
        """
        path = Path(file)
        try:
            said = _fields_of(path)
            recipe = visitors_recipe(self._services, _words(choices, said) | said, choices.hub_token)
            commits = self._commits(recipe, choices.hub_token)
        except StudioError as error:
            problems = error.problems if isinstance(error, RecipeError) else [str(error)]
            return None, choices.name, render("recipe_note.html", file=path.name, problems=problems)
        name = recipe.name if "name" in said else choices.name
        return recipe, name, render("recipe_note.html", file=path.name, problems=[], **commits)

    def _commits(self, recipe: TrainConfig, hub_token: str | None) -> dict[str, str | None]:
        """The commits of a Hub base: the recipe's, and the one that the page trains on, which has no field for it."""
        base = self._services.owners.find_base(recipe.base)
        now = self._services.bases.check(base, hub_token).commit if base.on_hub else None
        return {"said": recipe.base_revision, "now": now}


def _words(choices: Choices, said: Mapping[str, Any]) -> dict[str, Any]:
    """The page's words, which stand for those that a file does not say; one kind's class word is no other kind's."""
    words = {"method": choices.method, "kind": choices.kind, "base": choices.base, "name": "unnamed"}
    return words if "kind" in said else {**words, "class_word": choices.class_word.strip()}


def _fields_of(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return read_fields(opened.read(LONGEST_RECIPE + 1))  # no more: it may be any file
    finally:
        release([file])

"""The embedded example: something real to look at when a page opens for the first time on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import yaml

from jobs.record.store import Job
from jobs.service import JobService
from trainer.bases import EXAMPLES_FOLDER, STARTER_FOLDER, inspect_base
from trainer.photos.intake import take_folder
from trainer.recipe.choices import Kind, Method
from trainer.recipe.presets import preset_recipe


class Example:
    """A set of example photos, with what a person would say about it: NAME/ and NAME.yaml."""

    def __init__(self, description: Path) -> None:
        described = yaml.safe_load(description.read_text(encoding="utf-8"))
        self.folder = description.with_suffix("")
        self.name = str(described["name"])
        self.kind = Kind(described["kind"])
        self.class_word = str(described["class_word"])
        self.title = str(described["title"])

    @property
    def photos(self) -> list[Path]:
        return sorted(self.folder.glob("*.jpg"))


def find_examples() -> list[Example]:
    """The example sets that come with the project, the one that is trained by itself first."""
    return [Example(file) for file in sorted(EXAMPLES_FOLDER.glob("*.yaml"))]


def submit_example(service: JobService, owner: str) -> Job:
    """Queue textual inversion of the first example on the starter model."""
    example = find_examples()[0]
    traits = inspect_base(STARTER_FOLDER)
    recipe = preset_recipe(
        Method.textual_inversion, example.kind, traits, name=example.name, class_word=example.class_word
    )
    return service.submitting.submit(owner, recipe, lambda folder: take_folder(example.folder, folder))

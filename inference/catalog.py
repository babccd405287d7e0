"""Which concepts there are: finished artifacts in run folders, as the page and the command line name them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from inference.request import ConceptUse
from trainer.artifact import Manifest, read_manifest
from trainer.errors import RequestError
from trainer.recipe.choices import Method
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Concept:
    """A finished concept: where it lies and what its manifest says."""

    folder: Path
    manifest: Manifest
    step: int | None = None
    """The checkpoint of its training that is meant; None: its result."""

    @property
    def is_whole_model(self) -> bool:
        return self.manifest.method is Method.dreambooth

    @property
    def run(self) -> RunFolder:
        """Where it was trained, if it was trained here."""
        return RunFolder(self.folder.parent)


def open_concept(path: Path, step: int | None = None) -> Concept:
    """The concept in a run folder or an artifact folder, at a step. Raises ConceptError where there is none."""
    folder = path / "artifact" if (path / "artifact").is_dir() else path
    return Concept(folder, read_manifest(folder), step)


def use_together(choices: list[tuple[Path, float]]) -> tuple[ConceptUse, ...]:
    """Concepts for one request, with an alias for each name that is taken already: `<cup>`, `<cup-2>`.

    Raises RequestError for two whole models: a pipeline holds one.
    """
    uses = use_each(choices)
    if sum(open_concept(use.folder).is_whole_model for use in uses) > 1:
        raise RequestError("Two full DreamBooth models cannot be combined; a picture is made by one model.")
    return uses


def use_each(choices: list[tuple[Path, float]]) -> tuple[ConceptUse, ...]:
    """The same for concepts that are drawn one after another, whole models or not."""
    concepts = [open_concept(path) for path, _ in choices]
    aliases = aliases_of([concept.manifest.name for concept in concepts])
    return tuple(
        ConceptUse(folder=concept.folder, weight=weight, alias=alias)
        for concept, (_, weight), alias in zip(concepts, choices, aliases, strict=True)
    )


def aliases_of(names: Iterable[str]) -> list[str]:
    """What prompts call concepts of these names that are used together."""
    aliases: list[str] = []
    for name in names:
        aliases.append(_free_alias(name, aliases))
    return aliases


def _free_alias(name: str, taken: Collection[str]) -> str:
    """The name itself, or with the first number from 2 on that is free."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(alias for alias in numbered if alias not in taken)

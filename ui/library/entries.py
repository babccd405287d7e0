"""The finished concepts of an owner, as pages show and use them."""

from __future__ import annotations

from dataclasses import dataclass

from inference.catalog import Concept, open_concept
from jobs.record.publications import Publication
from trainer.artifact import Manifest
from trainer.bases import public_base_name
from trainer.errors import ConceptError
from trainer.run_folder import RunFolder
from ui.services import Services

_SAMPLES = 4


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
    return [run.relative(picture) for picture in newest[:_SAMPLES]]

"""What the Try it page does: builds requests, and brings back what pictures were made with."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.catalog import aliases_of, use_each, use_together
from inference.metadata import PictureSettings, read_settings
from inference.request import MAX_SEED, PictureRequest, build_request
from trainer.bases import base_name, public_base_name
from trainer.errors import RequestError
from trainer.recipe.choices import STARTER
from trainer.recipe.presets import MOST_PX, sampler_values
from ui.library.entries import LibraryEntry, library_entries
from ui.method_words import METHOD_IN_A_WORD
from ui.services import Services
from ui.try_it.concept_fields import MAX_CONCEPTS, NAME
from ui.try_it.drawing_panel import line_html
from ui.try_it.start_picture import check_start_picture

_UNKNOWN_PX = 512
_FIELDS = ("prompt", "negative_prompt", "steps", "guidance", "scheduler", "width", "height", "count", "strength")


@dataclass(frozen=True)
class FoundAgain:
    """The concepts of a picture that are here: their jobs and weights; and names of those that are not, or changed."""

    jobs: list[str] = field(default_factory=list[str])
    weights: list[float] = field(default_factory=list[float])
    missing: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])


class TryHandlers:
    """Calls of the page; every one of them sees only what its owner has."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def choices(self, owner: str) -> list[tuple[str, str]]:
        """(label, job id) of every concept of the owner."""
        entries = library_entries(self._services, owner)
        labels = [f"{e.manifest.name} · {METHOD_IN_A_WORD[e.manifest.method.value]}" for e in entries]
        often = Counter(labels)
        return [
            (f"{label} · {entry.manifest.made:%d %b %H:%M}" if often[label] > 1 else label, entry.job)
            for label, entry in zip(labels, entries, strict=True)
        ]

    def describe(self, job_ids: list[str], owner: str) -> list[LibraryEntry]:
        """The picked concepts, in the order they were picked; ids that are not the owner's are ignored."""
        known = {entry.job: entry for entry in library_entries(self._services, owner)}
        return [known[job_id] for job_id in job_ids if job_id in known]

    def defaults(self, entries: list[LibraryEntry]) -> dict[str, Any]:
        """Settings that suit the picked concepts: their base, size and the usual look."""
        if not entries:
            return self.defaults_of_base(STARTER)
        side = entries[0].manifest.resolution_px
        base = entries[0].base
        return {"base": base, "width": side, "height": side, **sampler_values(starter=base == STARTER)}

    def defaults_of_base(self, entered: str) -> dict[str, Any]:
        """Settings that suit a base without concepts; the usual ones for what is none."""
        base = base_name(entered) or STARTER
        try:
            reference = self._services.owners.find_base(base)
            traits = self._services.traits_of(reference)
        except RequestError:  # it is said when pictures are asked for
            side = _UNKNOWN_PX
        else:
            side = min(traits.resolution_px, MOST_PX)
        return {"base": base, "width": side, "height": side, **sampler_values(starter=base == STARTER)}

    def request(
        self,
        job_ids: list[str],
        weights: list[float],
        entered: Mapping[str, Any],
        owner: str,
        *,
        hub_token: str | None = None,
        one_at_a_time: bool = False,
    ) -> PictureRequest:
        """The request as entered; a grid may take its concepts `one_at_a_time`.

        Raises RequestError, BaseModelError or RecipeError in words.
        """
        entries = self.describe(job_ids, owner)
        if len(entries) < len(job_ids):
            raise RequestError("A concept that you picked is not here any more. Look at what is picked, and try again.")
        weighed = [(e.concept.folder, w) for e, w in zip(entries, weights, strict=False)]
        uses = use_each(weighed) if one_at_a_time else use_together(weighed)
        prompt = str(entered["prompt"] or "").strip()
        if not prompt:
            raise RequestError("Write a prompt first, such as “a photo of <name> on a red background”.")
        base = base_name(str(entered["base"] or "")) or STARTER
        trained_on = next((e.manifest.base for e in entries if base in (e.base, e.manifest.base.name)), None)
        if trained_on is None and base != STARTER:
            self._check_base(base, hub_token)
        values: dict[str, object] = {**{name: entered[name] for name in _FIELDS}, "prompt": prompt}
        values["negative_prompt"] = str(entered["negative_prompt"] or "")
        values |= {"base": base, "concepts": uses, "seed": chosen_seed(entered["seed"])}
        if trained_on is not None:
            values |= {"base": trained_on.name, "base_revision": trained_on.revision}
            values |= {"base_prediction": trained_on.prediction}
        if entered["init_image"]:
            values["init_image"] = check_start_picture(entered["init_image"])
        return build_request(_whole_numbers(values))

    def _check_base(self, base: str, hub_token: str | None) -> None:
        """Raise where a visitor may not draw with it: a private base that another one trained on is on this disk."""
        if self._services.owners.single:
            return
        self._services.bases.check(self._services.owners.find_base(base), hub_token)

    def picture(self, name: str, owner: str) -> Path:
        """The file of one of the owner's pictures. Raises RequestError where there is none."""
        found = self._services.pictures.find(owner, name)
        if found is None:
            raise RequestError("This picture is gone.")
        return found.file

    def settings_in_file(self, file: str) -> PictureSettings:
        """The settings inside a picture. Raises RequestError for one that has none."""
        settings = read_settings(Path(file))
        if settings is None:
            raise RequestError("This picture carries no settings of Concept Studio.")
        return settings

    def concepts_of(self, settings: PictureSettings, owner: str) -> FoundAgain:
        """The concepts that a picture was made with: as many as the page can show.

        One that is not here is found by its name: it has learnt more since, or was trained anew.
        """
        entries = library_entries(self._services, owner)
        same = {entry.manifest.weights_sha256: entry.job for entry in entries}
        named: dict[str, list[str]] = {}  # the newest first
        for entry in entries:
            named.setdefault(entry.manifest.name, []).append(entry.job)
        taken = {same[sha256] for concept in settings.concepts if (sha256 := str(concept.get("sha256"))) in same}
        found = FoundAgain()
        for concept in settings.concepts:
            sha256, name = str(concept.get("sha256")), str(concept.get("name"))
            job = same.get(sha256) or next((job for job in named.get(name, []) if job not in taken), None)
            if job is None:
                found.missing.append(name)
            elif len(found.jobs) < MAX_CONCEPTS:  # only the command line can use more
                taken.add(job)
                found.jobs.append(job)
                found.weights.append(float(concept.get("weight", 1.0)))
                if sha256 not in same:
                    found.changed.append(name)
        return found

    def prompt_of(self, settings: PictureSettings, entries: list[LibraryEntry]) -> str:
        """A picture's prompt with its concepts called as they are when these are picked."""
        alias_of = {str(c.get("sha256")): str(c.get("alias")) for c in settings.concepts}
        manifests = [entry.manifest for entry in entries]
        aliases = aliases_of(manifest.name for manifest in manifests)
        called = {alias_of.get(m.weights_sha256, ""): alias for m, alias in zip(manifests, aliases, strict=True)}

        def renamed(match: re.Match[str]) -> str:
            name = match[0][1:-1].lower()  # as it is drawn: a capital makes no other name
            return f"<{called[name]}>" if name in called else match[0]

        return re.sub(NAME, renamed, settings.prompt, flags=re.IGNORECASE)

    def base_of(self, settings: PictureSettings, entries: list[LibraryEntry], entered: str) -> str:
        """The base that a picture was made on, as it is called here: its concepts' base, or else what is `entered`,
        if that is a folder or a file of this name: a picture does not say where it lies.
        """
        if entries:
            return entries[0].base
        return entered if public_base_name(entered) == settings.base else settings.base

    def restored_note(self, found: FoundAgain, *, started_from_picture: bool) -> str:
        """What was loaded from a picture, and what could not be."""
        notes = ["It was drawn from another picture, which is not in the file."] if started_from_picture else []
        notes += [f"<{name}> is not in your library, so it was left out." for name in found.missing]
        notes += [f"<{name}> is another one of this name than the picture was made with." for name in found.changed]
        return line_html("Settings loaded.", notes=notes)

    def delete(self, name: str, owner: str) -> None:
        self._services.pictures.delete(owner, name)


def chosen_seed(entered: Any) -> int:
    """The entered seed, or a new one for an empty field or -1. Raises RequestError for what is no seed."""
    if entered in (None, "", -1):
        return secrets.randbelow(MAX_SEED + 1)
    seed = float(entered)
    if not seed.is_integer() or not 0 <= seed <= MAX_SEED:
        raise RequestError(f"A seed is a whole number from 0 to {MAX_SEED}; leave it empty for a new one.")
    return int(seed)


def _whole_numbers(values: dict[str, object]) -> dict[str, object]:
    """Number fields of a browser are floats."""
    return {k: int(v) if isinstance(v, float) and v.is_integer() and k != "guidance" else v for k, v in values.items()}

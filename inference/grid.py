"""X/Y grids: one request drawn again and again with two of its settings varied, every other one the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from inference.catalog import open_concept
from inference.request import ConceptUse, PictureRequest, build_request
from trainer.errors import RequestError

MAX_VALUES, MAX_CELLS = 12, 48
RESULT = "result"
"""Among a concept's checkpoints: what its training ended with."""


class Varied(StrEnum):
    """What an axis of a grid can vary."""

    seed = "seed"
    guidance = "guidance"
    steps = "steps"
    scheduler = "scheduler"
    strength = "strength"
    size = "size"
    weight = "weight"
    concept = "concept"
    checkpoint = "checkpoint"
    words = "words"
    prompt = "prompt"
    negative_prompt = "negative_prompt"


class Axis(BaseModel):
    """One setting and its values, as they were entered and as they stand beside the pictures."""

    model_config = ConfigDict(frozen=True)

    varied: Varied
    values: tuple[str, ...]


class GridSettings(BaseModel):
    """A grid's axes; without `down` it is one row."""

    model_config = ConfigDict(frozen=True)

    across: Axis
    down: Axis | None = None


@dataclass(frozen=True)
class Grid:
    """The requests of a grid, row by row, each for one picture, and what was asked."""

    settings: GridSettings
    rows: tuple[tuple[PictureRequest, ...], ...]

    @property
    def cells(self) -> list[PictureRequest]:
        return [cell for row in self.rows for cell in row]


def read_axis(varied: str, entered: str, request: PictureRequest) -> Axis:
    """The values of an axis: one a line, or else separated by commas; no concepts or checkpoints means all.

    Raises RequestError, in words, for values that are none.
    """
    if varied not in set(Varied):
        raise RequestError(f"A grid cannot vary {varied!r}; it can vary {', '.join(Varied)}.")
    field = Varied(varied)
    parts = entered.splitlines() if "\n" in entered.strip() else entered.split(",")
    values = [part.strip() for part in parts if part.strip()]
    if field is Varied.concept:
        values = [value.strip("<>") for value in values] or [str(use.alias) for use in request.concepts]
    if field is Varied.checkpoint:
        values = values or _all_checkpoints(request)
    values = list(dict.fromkeys(values))
    if not values:
        raise RequestError(f"Say which values of {field.value} the grid shall show, such as {_EXAMPLES[field]}.")
    if len(values) > MAX_VALUES:
        raise RequestError(f"A grid shows at most {MAX_VALUES} values along a side; these are {len(values)}.")
    return Axis(varied=field, values=tuple(values))


_EXAMPLES = {
    Varied.seed: "1, 2, 3",
    Varied.guidance: "2, 4, 8",
    Varied.steps: "10, 20, 40",
    Varied.scheduler: "DDIM, Euler",
    Varied.strength: "0.4, 0.6, 0.8",
    Varied.size: "512x512, 768x512",
    Varied.weight: "0.5, 0.75, 1",
    Varied.concept: "the names of those that you picked",
    Varied.checkpoint: "100, 200, result",
    Varied.words: "red, blue, green: the first is in your prompt",
    Varied.prompt: "a cup at sea and a cup on the moon, one per line",
    Varied.negative_prompt: "blurry and dark, one per line",
}


_FIRST = {Varied.prompt: 0, Varied.words: 1, Varied.concept: 2}


def build_grid(request: PictureRequest, settings: GridSettings) -> Grid:
    """Every cell's request. Raises RequestError where a value does not fit, before anything is drawn."""
    across, down = settings.across, settings.down
    if down is not None and down.varied is across.varied:
        raise RequestError(f"Both sides of the grid vary {across.varied.value}; choose two different settings.")
    count = len(across.values) * (len(down.values) if down else 1)
    if count > MAX_CELLS:
        raise RequestError(f"A grid has at most {MAX_CELLS} pictures; this one would have {count}.")
    one = request.model_copy(update={"count": 1})
    in_rows = [((down, value),) for value in down.values] if down else [()]
    rows = tuple(tuple(_cell(one, (across, value), *in_row) for value in across.values) for in_row in in_rows)
    return Grid(settings, rows)


def _cell(request: PictureRequest, *chosen: tuple[Axis, str]) -> PictureRequest:
    """The request with a value of each axis, whole prompts before what changes words in them, and concepts before
    what a concept has: its weight and its checkpoints.
    """
    for axis, value in sorted(chosen, key=lambda of: _FIRST.get(of[0].varied, len(_FIRST))):
        request = _changed(request, axis, value)
    return request


def _changed(request: PictureRequest, axis: Axis, value: str) -> PictureRequest:
    match axis.varied:
        case Varied.words:
            changes: Mapping[str, Any] = {"prompt": _with_words(request.prompt, axis.values[0], value)}
        case Varied.weight:
            if not request.concepts:
                raise RequestError("A grid of weights needs a concept; pick one first.")
            if all(open_concept(use.folder).is_whole_model for use in request.concepts):
                raise RequestError("A full DreamBooth model has no weight; this grid would repeat one picture.")
            changes = {"concepts": [{**use.model_dump(), "weight": value} for use in request.concepts]}
        case Varied.concept:
            changes = _with_concept(request, value)
        case Varied.checkpoint:
            changes = {"concepts": [_at_checkpoint(request, value).model_dump()]}
        case Varied.strength:
            if request.init_image is None:
                raise RequestError("A grid of strengths starts from a picture; choose one first.")
            changes = {"strength": value}
        case Varied.size:
            changes = _size(value)
        case _:
            changes = {axis.varied.value: value}  # a field of the request by its own name
    return build_request({**request.model_dump(), **changes})


def _size(value: str) -> dict[str, str]:
    sides = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", value.lower())
    if sides is None:
        raise RequestError(f"“{value}” is not a size; write width and height in pixels, such as 512x768.")
    return {"width": sides[1], "height": sides[2]}


def _with_words(prompt: str, first: str, value: str) -> str:
    """The prompt with other words in the first ones' place; `red` in `bored` or in `<red-mug>` is none of them."""
    parts = re.split(r"(<[^<>]*>)", prompt) if "<" not in first else [prompt]
    words = re.compile(rf"(?<!\w){re.escape(first)}(?!\w)")
    if not any(words.search(part) for part in parts[::2]):
        raise RequestError(f"“{first}”, the first words of the grid, is not in the prompt.")
    return "".join(part if number % 2 else words.sub(lambda _: value, part) for number, part in enumerate(parts))


def _with_concept(request: PictureRequest, alias: str) -> dict[str, Any]:
    """The request with one of its concepts alone, on its own base; the prompt names it wherever it named any."""
    use = next((use for use in request.concepts if use.alias == alias), None)
    if use is None:
        raise RequestError(f"<{alias}> is not among the concepts that are picked.")
    names = "|".join(re.escape(str(other.alias)) for other in request.concepts)
    changes = {
        "concepts": [use.model_dump()],
        "prompt": re.sub(f"<({names})>", f"<{alias}>", request.prompt, flags=re.IGNORECASE),
    }
    first, own = (open_concept(of.folder).manifest.base for of in (request.concepts[0], use))
    if own.identity == first.identity:  # then it is the request's, wherever that lies now
        return changes
    return changes | {"base": own.name, "base_revision": own.revision, "base_prediction": own.prediction}


def _at_checkpoint(request: PictureRequest, value: str) -> ConceptUse:
    """The request's concept as it was at a step, or its result."""
    if len(request.concepts) != 1:
        raise RequestError("A grid of checkpoints shows the training of one concept; pick it alone.")
    (use,) = request.concepts
    if value == RESULT:
        return use.model_copy(update={"step": None})
    there = [str(step) for step in open_concept(use.folder).run.checkpoint_steps]
    if value not in there:
        kept = f"it has {', '.join([*there, RESULT])}" if there else "none is kept of it here"
        raise RequestError(f"<{use.alias}> has no checkpoint {value}: {kept}.")
    return use.model_copy(update={"step": int(value)})


def _all_checkpoints(request: PictureRequest) -> list[str]:
    """The steps that all of the request's concepts have checkpoints of, and the result where it is none of them."""
    concepts = [open_concept(use.folder) for use in request.concepts]
    steps = sorted(set.intersection(*(set(concept.run.checkpoint_steps) for concept in concepts)) if concepts else ())
    ends = {concept.manifest.steps for concept in concepts}
    return [*map(str, steps), *([] if ends == set(steps[-1:]) else [RESULT])]

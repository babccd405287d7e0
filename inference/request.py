"""What is asked of the generator: one immutable request, checked when it is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import Problem, RecipeError
from trainer.recipe.choices import STARTER

Scheduler = Literal["DPM++ 2M", "DPM++ 2M Karras", "Euler", "Euler a", "DDIM", "UniPC"]
SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
MAX_SEED = 2**32 - 1
MAX_PROMPT = 4000
MAX_STEPS = 150
MAX_GUIDANCE = 30
_PLACEHOLDER = re.compile(r"<([a-z0-9-]+)>", re.IGNORECASE)


class ConceptUse(BaseModel):
    """One concept of a request: its artifact folder, how strongly, and the name that it goes by in the prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folder: Path
    weight: float = Field(1.0, ge=0, le=2)
    alias: str | None = None
    step: int | None = Field(default=None, ge=1)
    """The checkpoint of its training to draw with; None: its result."""


class PictureRequest(BaseModel):
    """Everything that determines the pictures. The same request gives the same pictures on the same machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    negative_prompt: str = Field("", max_length=MAX_PROMPT)
    base: str = STARTER
    base_revision: str | None = None
    base_prediction: str | None = None
    concepts: tuple[ConceptUse, ...] = Field((), max_length=8)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    steps: int = Field(20, ge=1, le=MAX_STEPS)
    guidance: float = Field(5.0, ge=0, le=MAX_GUIDANCE)
    scheduler: Scheduler = "DPM++ 2M"
    width: int = Field(128, ge=64, le=2048, multiple_of=8)
    height: int = Field(128, ge=64, le=2048, multiple_of=8)
    count: int = Field(1, ge=1, le=16)
    init_image: Path | None = None
    strength: float = Field(0.6, gt=0, le=1)

    @property
    def work(self) -> int:
        """How much there is to do, in pixels times steps: time grows with it."""
        return self.width * self.height * self.steps * self.count

    @property
    def seeds(self) -> list[int]:
        """One seed a picture; the first picture of a later request with seed + 1 is the second of this one."""
        return [(self.seed + number) % (MAX_SEED + 1) for number in range(self.count)]


def build_request(values: dict[str, object]) -> PictureRequest:
    """Validate values into a request. Raises RecipeError naming every field that is wrong.

    A prompt that names a concept which is not among the request's is wrong, too: it would be drawn without it.
    """
    try:
        request = PictureRequest.model_validate(values)
    except ValidationError as error:
        problems = [Problem(str(e["loc"][0]) if e["loc"] else "request", e["msg"]) for e in error.errors()]
        raise RecipeError(problems) from None
    there = {use.alias for use in request.concepts}
    strangers = [name for name in dict.fromkeys(_PLACEHOLDER.findall(request.prompt)) if name.lower() not in there]
    if strangers:
        words = [f"<{name}> is not among the concepts: pick it, or take it out of the prompt" for name in strangers]
        raise RecipeError([Problem("prompt", text) for text in words])
    return request

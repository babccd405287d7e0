"""What the recipes of all methods have in common: their fields, each with its bounds and unit."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.errors import Problem, RecipeError
from trainer.recipe.choices import LONGEST_NAME, NAME_PATTERN, STARTER, Kind, Optimizer, Precision, Schedule


def basic(unit: str = "") -> dict[str, Any]:
    return {"unit": unit, "group": "basic"}


def advanced(unit: str = "") -> dict[str, Any]:
    return {"unit": unit, "group": "advanced"}


class CommonRecipe(BaseModel):
    """Fields that every method has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        max_length=LONGEST_NAME,
        pattern=NAME_PATTERN,
        description="Name of the concept: 2 to 40 of a-z, 0-9 and '-'. Prompts use it as <name>.",
        json_schema_extra=basic(),
    )
    kind: Kind = Field(description="What the photos show.", json_schema_extra=basic())
    class_word: str = Field(
        "",
        max_length=60,
        pattern=r"^[^\n\r<>]*$",
        description="Plain noun for the subject, such as teapot; a style has none.",
        json_schema_extra=basic(),
    )
    base: str = Field(
        STARTER,
        min_length=1,
        max_length=400,
        description="Base model: starter, a Hub id, a folder in diffusers format or one .safetensors file.",
        json_schema_extra=basic(),
    )
    base_revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{7,64}$", description="Commit of a base from the Hub.", json_schema_extra=advanced()
    )
    base_prediction: Literal["epsilon", "v_prediction"] | None = Field(
        None,
        description="What a single-file base predicts, where the file does not say: epsilon or v_prediction.",
        json_schema_extra=advanced(),
    )
    steps: int = Field(ge=1, le=100_000, description="Optimizer updates.", json_schema_extra=basic("steps"))
    seed: int = Field(
        42,
        ge=0,
        le=2**32 - 1,
        description="Everything random in the run follows from this number.",
        json_schema_extra=advanced(),
    )
    learning_rate: float = Field(gt=0, le=0.5, description="Peak learning rate.", json_schema_extra=basic())
    resolution_px: int = Field(
        ge=64,
        le=2048,
        multiple_of=8,
        description="Side of the square training pictures.",
        json_schema_extra=basic("px"),
    )
    batch_size: int = Field(
        1,
        ge=1,
        le=64,
        description="Pictures per forward pass, class pictures not counted.",
        json_schema_extra=advanced("pictures"),
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        le=64,
        description="Forward passes per step; the window carries over epochs.",
        json_schema_extra=advanced("passes"),
    )
    schedule: Schedule = Field(
        Schedule.constant, description="Course of the learning rate after warm-up.", json_schema_extra=advanced()
    )
    warmup_steps: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Steps over which the learning rate rises from zero.",
        json_schema_extra=advanced("steps"),
    )
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="AdamW's decoupled weight decay.", json_schema_extra=advanced()
    )
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="Gradients of the trained parameters are clipped to this norm.",
        json_schema_extra=advanced(),
    )
    optimizer: Optimizer = Field(
        Optimizer.adamw, description="8-bit states save memory on a GPU.", json_schema_extra=advanced()
    )
    precision: Precision = Field(
        Precision.auto,
        description="auto takes bf16 where the device computes it well, else fp16 on an NVIDIA GPU and fp32 elsewhere.",
        json_schema_extra=advanced(),
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, slower.",
        json_schema_extra=advanced(),
    )
    ema_decay: float | None = Field(
        None,
        ge=0.5,
        lt=1,
        description="Keep an exponential moving average of the trained weights and export that.",
        json_schema_extra=advanced(),
    )
    min_snr_gamma: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Min-SNR loss weighting (Hang et al. 2023); 5 is usual.",
        json_schema_extra=advanced(),
    )
    variants_per_photo: int = Field(
        1,
        ge=1,
        le=32,
        description="Slightly different crops shown of each photo; the first is the photo as it is. More hold less "
        "closely to the photos, and take more steps to learn.",
        json_schema_extra=advanced("crops"),
    )
    mirror: bool = Field(
        default=False,
        description="Every second variant is mirrored. Not for faces, lettering or whatever else has two sides.",
        json_schema_extra=advanced(),
    )
    name_background: bool = Field(
        default=False,
        description="Training prompts name the colour of each photo's background, so that it is not learnt as part of "
        "the subject. Not for styles, nor for photos with captions.",
        json_schema_extra=advanced(),
    )
    background_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Weight of a photo's background in the loss: 1 = the same as the subject, which is located "
        "automatically. Not for styles.",
        json_schema_extra=advanced("0 to 1"),
    )
    plain_background_share: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="Share of training pictures that show the subject cut out on a plain colour, which their prompt "
        "names, so that it is learnt apart from its surroundings. Not for styles, nor for photos with captions.",
        json_schema_extra=advanced("0 to 0.9"),
    )
    caption_dropout: float = Field(
        0.0, ge=0, le=0.9, description="Share of pictures trained with an empty prompt.", json_schema_extra=advanced()
    )
    checkpoint_every_steps: int = Field(
        100, ge=0, le=100_000, description="Steps between checkpoints; 0 = never.", json_schema_extra=advanced("steps")
    )
    keep_checkpoints: int = Field(
        2, ge=1, le=100, description="Newest checkpoints kept.", json_schema_extra=advanced("checkpoints")
    )
    preview_every_steps: int = Field(
        50,
        ge=0,
        le=100_000,
        description="Steps between preview pictures; 0 = never.",
        json_schema_extra=advanced("steps"),
    )
    preview_count: int = Field(
        2,
        ge=1,
        le=8,
        description="Pictures per preview, each with its own fixed seed.",
        json_schema_extra=advanced("pictures"),
    )
    preview_prompt: str = Field(
        "",
        max_length=1000,
        description="Prompt of the previews; <name> stands for the concept. Empty: the first template of the kind.",
        json_schema_extra=advanced(),
    )

    @property
    def trains_on_class_pictures(self) -> bool:
        return False

    @property
    def preserves_by_prediction(self) -> bool:
        return False

    @property
    def weight_of_prior(self) -> float:
        """Weight of prior preservation, for methods that have it."""
        return 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = self.problems()
        if problems:
            raise RecipeError(problems)
        return self

    def problems(self) -> list[Problem]:
        """Combinations of valid fields that cannot be trained together."""
        found: list[Problem] = []
        if self.kind is Kind.style:
            if self.class_word:
                found.append(Problem("class_word", "a style has no class word; leave it empty"))
            for field in ("name_background", "background_weight", "plain_background_share"):
                neutral = type(self).model_fields[field].default
                if getattr(self, field) != neutral:
                    found.append(Problem(field, f"a style is in its backgrounds, too; set it to {neutral}"))
        if self.mirror and self.variants_per_photo == 1:
            found.append(Problem("mirror", "is not used while variants_per_photo is 1; set that to 2 or more"))
        if self.warmup_steps >= self.steps:
            found.append(Problem("warmup_steps", f"must be smaller than the {self.steps} steps of the run"))
        return found

"""The recipe: everything that determines a training run, checked when it is built.

`TrainConfig` is a frozen union over the three methods. Each field is described once, here, with its bounds and unit;
the form, the command line and the documentation read it from `trainer.recipe_fields`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.choices import AdaptedLayers, Kind, Method, Optimizer, Precision, PriorSource, Schedule
from trainer.errors import Problem, RecipeError

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])$"
STARTER = "starter"


def _basic(unit: str = "") -> dict[str, Any]:
    return {"unit": unit, "group": "basic"}


def _advanced(unit: str = "") -> dict[str, Any]:
    return {"unit": unit, "group": "advanced"}


class _Recipe(BaseModel):
    """Fields that every method has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(
        pattern=NAME_PATTERN,
        description="Name of the concept: 2 to 40 of a-z, 0-9 and '-'. Prompts use it as <name>.",
        json_schema_extra=_basic(),
    )
    kind: Kind = Field(description="What the photos show.", json_schema_extra=_basic())
    class_word: str = Field(
        "",
        max_length=60,
        pattern=r"^[^\n\r<>]*$",
        description="Plain noun for the subject, such as teapot; a style has none.",
        json_schema_extra=_basic(),
    )
    base: str = Field(
        STARTER,
        min_length=1,
        max_length=400,
        description="Base model: starter, a Hub id, a folder in diffusers format or one .safetensors file.",
        json_schema_extra=_basic(),
    )
    base_revision: str | None = Field(
        None, pattern=r"^[0-9a-f]{7,64}$", description="Commit of a base from the Hub.", json_schema_extra=_advanced()
    )
    base_prediction: Literal["epsilon", "v_prediction"] | None = Field(
        None,
        description="What a single-file base predicts, where the file does not say: epsilon or v_prediction.",
        json_schema_extra=_advanced(),
    )
    steps: int = Field(ge=1, le=100_000, description="Optimizer updates.", json_schema_extra=_basic("steps"))
    seed: int = Field(
        42,
        ge=0,
        le=2**32 - 1,
        description="Everything random in the run follows from this number.",
        json_schema_extra=_advanced(),
    )
    learning_rate: float = Field(gt=0, le=0.5, description="Peak learning rate.", json_schema_extra=_basic())
    resolution_px: int = Field(
        ge=64,
        le=2048,
        multiple_of=8,
        description="Side of the square training pictures.",
        json_schema_extra=_basic("px"),
    )
    batch_size: int = Field(
        1,
        ge=1,
        le=64,
        description="Pictures per forward pass, class pictures not counted.",
        json_schema_extra=_advanced("pictures"),
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        le=64,
        description="Forward passes per step; the window carries over epochs.",
        json_schema_extra=_advanced("passes"),
    )
    schedule: Schedule = Field(
        Schedule.constant, description="Course of the learning rate after warm-up.", json_schema_extra=_advanced()
    )
    warmup_steps: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Steps over which the learning rate rises from zero.",
        json_schema_extra=_advanced("steps"),
    )
    weight_decay: float = Field(
        0.01, ge=0, le=1, description="AdamW's decoupled weight decay.", json_schema_extra=_advanced()
    )
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="Gradients of the trained parameters are clipped to this norm.",
        json_schema_extra=_advanced(),
    )
    optimizer: Optimizer = Field(
        Optimizer.adamw, description="8-bit states save memory on a GPU.", json_schema_extra=_advanced()
    )
    precision: Precision = Field(
        Precision.auto,
        description="auto takes bf16 where the device computes it well, else fp16 on a GPU and fp32 on a CPU.",
        json_schema_extra=_advanced(),
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, slower.",
        json_schema_extra=_advanced(),
    )
    ema_decay: float | None = Field(
        None,
        ge=0.5,
        lt=1,
        description="Keep an exponential moving average of the trained weights and export that.",
        json_schema_extra=_advanced(),
    )
    min_snr_gamma: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Min-SNR loss weighting (Hang et al. 2023); 5 is usual.",
        json_schema_extra=_advanced(),
    )
    variants_per_photo: int = Field(
        4,
        ge=1,
        le=32,
        description="Slightly different crops cached of each photo; the first is the exact crop.",
        json_schema_extra=_advanced("crops"),
    )
    mirror: bool = Field(
        default=True,
        description="Half of the variants are mirrored. Off for faces and lettering.",
        json_schema_extra=_advanced(),
    )
    name_background: bool = Field(
        default=False,
        description="Training prompts say the colour of each photo's background, so that it is learnt as no part of "
        "the subject. Not for styles, nor for photos with captions.",
        json_schema_extra=_advanced(),
    )
    caption_dropout: float = Field(
        0.0, ge=0, le=0.9, description="Share of pictures trained with an empty prompt.", json_schema_extra=_advanced()
    )
    checkpoint_every_steps: int = Field(
        100, ge=0, le=100_000, description="Steps between checkpoints; 0 = never.", json_schema_extra=_advanced("steps")
    )
    keep_checkpoints: int = Field(
        2, ge=1, le=100, description="Newest checkpoints kept.", json_schema_extra=_advanced("checkpoints")
    )
    preview_every_steps: int = Field(
        50,
        ge=0,
        le=100_000,
        description="Steps between preview pictures; 0 = never.",
        json_schema_extra=_advanced("steps"),
    )
    preview_count: int = Field(
        2,
        ge=1,
        le=8,
        description="Pictures per preview, each with its own fixed seed.",
        json_schema_extra=_advanced("pictures"),
    )
    preview_prompt: str = Field(
        "",
        max_length=1000,
        description="Prompt of the previews; <name> stands for the concept. Empty: the method's own first template.",
        json_schema_extra=_advanced(),
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
    def _possible(self) -> _Recipe:
        problems = self.problems()
        if problems:
            raise RecipeError(problems)
        return self

    def problems(self) -> list[Problem]:
        """Combinations of valid fields that cannot be trained together."""
        found: list[Problem] = []
        if self.kind is Kind.style and self.class_word:
            found.append(Problem("class_word", "a style has no class word; leave it empty"))
        if self.warmup_steps >= self.steps:
            found.append(Problem("warmup_steps", f"must be smaller than the {self.steps} steps of the run"))
        return found


class TextualInversionRecipe(_Recipe):
    """Learns new token embeddings and nothing else (Gal et al. 2022, arXiv 2208.01618)."""

    method: Literal[Method.textual_inversion] = Method.textual_inversion
    vectors: int = Field(
        4,
        ge=1,
        le=32,
        description="Token embeddings to learn; each takes one of the prompt's places.",
        json_schema_extra=_basic("vectors"),
    )
    initializer: str = Field(
        "",
        max_length=200,
        description="Words whose embeddings the vectors start from; empty: the class word.",
        json_schema_extra=_advanced(),
    )


class _DreamBoothRecipe(_Recipe):
    """Fields that both forms of DreamBooth share (Ruiz et al. 2022, arXiv 2208.12242)."""

    text_encoder_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the steps in which the text encoder is trained too.",
        json_schema_extra=_advanced("0 to 1"),
    )
    text_encoder_learning_rate: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="Learning rate of the text encoder; empty: the same as the denoiser's.",
        json_schema_extra=_advanced(),
    )
    prior_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Weight of prior preservation: class pictures keep the class from drifting; 0 = off.",
        json_schema_extra=_advanced(),
    )
    class_images: int = Field(
        32,
        ge=1,
        le=1000,
        description="Class pictures to generate for prior preservation.",
        json_schema_extra=_advanced("pictures"),
    )
    class_images_dir: Path | None = Field(
        None,
        description="Your own class pictures instead of generated ones: a folder, of which 1,000 files are taken.",
        json_schema_extra=_advanced(),
    )

    @property
    def trains_on_class_pictures(self) -> bool:
        return self.prior_weight > 0

    @property
    def weight_of_prior(self) -> float:
        return self.prior_weight

    def problems(self) -> list[Problem]:
        found = super().problems()
        if self.prior_weight > 0 and self.kind is Kind.style:
            found.append(Problem("prior_weight", "prior preservation needs a class, and a style has none; set it to 0"))
        elif self.prior_weight > 0 and not self.class_word.strip():
            found.append(Problem("class_word", "prior preservation needs a class; name it, or set prior_weight to 0"))
        if self.class_images_dir is not None and self.prior_weight == 0:
            found.append(Problem("class_images_dir", "is not used while prior_weight is 0; give a weight, such as 1"))
        if self.text_encoder_learning_rate is not None and self.text_encoder_share == 0:
            found.append(Problem("text_encoder_learning_rate", "is not used while text_encoder_share is 0"))
        return found


class DreamBoothLoraRecipe(_DreamBoothRecipe):
    """Learns low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on layers of the denoiser."""

    method: Literal[Method.dreambooth_lora] = Method.dreambooth_lora
    rank: int = Field(16, ge=1, le=256, description="Rank of the adapters.", json_schema_extra=_basic())
    alpha: float | None = Field(
        None,
        gt=0,
        le=1024,
        description="Adapters are scaled by alpha / rank; empty: alpha = rank.",
        json_schema_extra=_advanced(),
    )
    adapted_layers: AdaptedLayers = Field(
        AdaptedLayers.attention,
        description="Layers with an adapter: attention only, or all (convolutions and feed-forward layers, too).",
        json_schema_extra=_advanced(),
    )
    prior_source: PriorSource = Field(
        PriorSource.class_images,
        description="What prior preservation holds the class to: class pictures, or what the base itself predicts for "
        "the class word on your photos, for which no pictures need to be made.",
        json_schema_extra=_advanced(),
    )

    @property
    def trains_on_class_pictures(self) -> bool:
        return self.prior_weight > 0 and self.prior_source is PriorSource.class_images

    @property
    def preserves_by_prediction(self) -> bool:
        return self.prior_weight > 0 and self.prior_source is PriorSource.base_prediction

    def problems(self) -> list[Problem]:
        found = super().problems()
        if self.prior_source is PriorSource.base_prediction and self.class_images_dir is not None:
            found.append(Problem("class_images_dir", "is not used with prior_source base-prediction; leave one out"))
        return found


class DreamBoothRecipe(_DreamBoothRecipe):
    """Learns the whole denoiser, and the text encoder for a share of the steps."""

    method: Literal[Method.dreambooth] = Method.dreambooth


TrainConfig = Annotated[
    TextualInversionRecipe | DreamBoothLoraRecipe | DreamBoothRecipe,
    Field(discriminator="method"),
]

RECIPES: dict[Method, type[TextualInversionRecipe] | type[DreamBoothLoraRecipe] | type[DreamBoothRecipe]] = {
    Method.textual_inversion: TextualInversionRecipe,
    Method.dreambooth_lora: DreamBoothLoraRecipe,
    Method.dreambooth: DreamBoothRecipe,
}

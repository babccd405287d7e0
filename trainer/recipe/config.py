"""The recipe: everything that determines a training run, checked when it is built.

`TrainConfig` is a frozen union over the three methods. Each field is described once, with its bounds and unit: here, or
in `trainer.recipe.common`. The form and the command line read it from `trainer.recipe.fields`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from trainer.errors import Problem
from trainer.recipe.choices import AdaptedLayers, Kind, Method, PriorSource
from trainer.recipe.common import CommonRecipe, advanced, basic


class TextualInversionRecipe(CommonRecipe):
    """Learns new token embeddings and nothing else (Gal et al. 2022, arXiv 2208.01618)."""

    method: Literal[Method.textual_inversion] = Method.textual_inversion
    vectors: int = Field(
        4,
        ge=1,
        le=32,
        description="Token embeddings to learn; each takes one of the prompt's places.",
        json_schema_extra=basic("vectors"),
    )
    initializer: str = Field(
        "",
        max_length=200,
        description="Words whose embeddings the vectors start from; empty: the class word.",
        json_schema_extra=advanced(),
    )


class _DreamBoothRecipe(CommonRecipe):
    """Fields that both forms of DreamBooth share (Ruiz et al. 2022, arXiv 2208.12242)."""

    text_encoder_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the steps in which the text encoder is trained too.",
        json_schema_extra=advanced("0 to 1"),
    )
    text_encoder_learning_rate: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="Learning rate of the text encoder; empty: the same as the denoiser's.",
        json_schema_extra=advanced(),
    )
    prior_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Weight of prior preservation: class pictures keep the class from drifting; 0 = off.",
        json_schema_extra=advanced(),
    )
    class_images: int = Field(
        32,
        ge=1,
        le=1000,
        description="Class pictures to generate for prior preservation.",
        json_schema_extra=advanced("pictures"),
    )
    class_images_dir: Path | None = Field(
        None,
        description="Your own class pictures instead of generated ones: a folder, of which 1,000 files are taken.",
        json_schema_extra=advanced(),
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
    rank: int = Field(16, ge=1, le=256, description="Rank of the adapters.", json_schema_extra=basic())
    alpha: float | None = Field(
        None,
        gt=0,
        le=1024,
        description="Adapters are scaled by alpha / rank; empty: alpha = rank.",
        json_schema_extra=advanced(),
    )
    adapted_layers: AdaptedLayers = Field(
        AdaptedLayers.attention,
        description="Layers with an adapter: attention only, or all (convolutions and feed-forward layers, too).",
        json_schema_extra=advanced(),
    )
    prior_source: PriorSource = Field(
        PriorSource.class_images,
        description="What prior preservation holds the class to: class pictures, or what the base itself predicts for "
        "the class word on your photos, for which no pictures need to be made.",
        json_schema_extra=advanced(),
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

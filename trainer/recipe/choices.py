"""What a recipe chooses from: the method, the kind of thing that is taught, values of single fields, and names."""

from __future__ import annotations

from enum import StrEnum

NAME_PATTERN = r"^[a-z0-9](?:-?[a-z0-9])+$"
LONGEST_NAME = 40
NAME_RULE = f"2 to {LONGEST_NAME} of a-z, 0-9 and '-', which stands between two others"
"""What a concept may be called. Two dashes in a row weaken a word in prompts, and no repository may have them."""
STARTER = "starter"
"""What recipes call the base model that comes with the project."""


class Method(StrEnum):
    """How a concept is learnt."""

    textual_inversion = "textual-inversion"
    dreambooth_lora = "dreambooth-lora"
    dreambooth = "dreambooth"


class Kind(StrEnum):
    """What a concept is; it decides templates, presets and the default class word."""

    person = "person"
    pet = "pet"
    object = "object"
    style = "style"


class AdaptedLayers(StrEnum):
    """Which layers of the denoiser get a low-rank adapter."""

    attention = "attention"
    all = "all"


class PriorSource(StrEnum):
    """What prior preservation holds the class to."""

    class_images = "class-images"
    base_prediction = "base-prediction"


DEFAULT_CLASS_WORD = {Kind.person: "person", Kind.pet: "animal", Kind.object: "object", Kind.style: ""}


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass. Trained weights and the noise schedule stay in fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


FP16_ON_CPU = "fp16 does not train on a CPU; choose auto, bf16 or fp32"


class Optimizer(StrEnum):
    """AdamW, or AdamW with 8-bit states where the machine can run it."""

    adamw = "adamw"
    adamw_8bit = "adamw-8bit"


class Schedule(StrEnum):
    """How the learning rate moves after warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"

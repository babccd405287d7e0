"""What a weights file made elsewhere is, and whether it fits a base: read from tensor names, shapes and metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trainer.bases import OTHER_NOISE, BaseTraits
from trainer.errors import WeightsError
from trainer.imports.lora_layers import LoraLayer, is_lora, read_layers
from trainer.imports.torch_zip import check_torch_zip
from trainer.imports.weights_file import Header, TensorShape, check_numbers, is_torch_zip, read_header
from trainer.recipe.choices import Method

XL_EMBEDDING = ("clip_l", "clip_g")
"""What a file calls the vectors for the two text encoders of Stable Diffusion XL, in every tool."""
MAX_VECTORS = 75
"""A prompt has 77 places, and two of them are its ends."""
_UNET, _FIRST_STAGE = "model.diffusion_model.", "first_stage_model."
_ORIGINAL_CONTEXT = re.compile(r"model\.diffusion_model\..*\.attn2\.to_k\.weight")
_LORA_CONTEXT = re.compile(r"attn2_to_k$")
_ALGORITHMS = {"hada_w1_a": "LoHa", "lokr_w1": "LoKr", "lokr_w1_a": "LoKr", "oft_blocks": "OFT", "dora_scale": "DoRA"}
_OTHER_MODELS = {
    "double_blocks": "Flux",
    "single_transformer_blocks": "Flux",
    "joint_blocks": "Stable Diffusion 3",
    "joint_transformer_blocks": "Stable Diffusion 3",
    "transformer_blocks": "a transformer model",
}
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
"""Empty tensors of XL models that predict v, and of those whose noisiest timestep is noise alone."""
_EDM_MARKS = ("edm_mean", "edm_vpred.sigma_max")
"""Tensors that Playground v2.5 and CosXL carry beside their weights."""
_FAMILIES = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "Stable Diffusion XL",
    2048: "Stable Diffusion XL",
}


class Form(StrEnum):
    """How a recognised file is laid out."""

    embedding = "embedding"
    lora = "lora"
    original = "original"
    """A whole model in the layout of CompVis' and Stability's checkpoints."""


MAX_BYTES = {Form.embedding: 64_000_000, Form.lora: 4_000_000_000, Form.original: 15_000_000_000}
METHOD_OF_FORM = {
    Form.embedding: Method.textual_inversion,
    Form.lora: Method.dreambooth_lora,
    Form.original: Method.dreambooth,
}


@dataclass(frozen=True)
class Recognised:
    """A file that can be taken in. `width` is that of the text states it was made for, None where it does not say.

    `tensor` names an embedding's vectors; `layers` are a LoRA's, `prediction` is what a whole model's metadata says.
    """

    form: Form
    width: int | None
    tensor: str = ""
    vectors: int = 1
    layers: tuple[LoraLayer, ...] = ()
    prediction: str | None = None
    ends_in_noise: bool = False
    """Its noisiest timestep is noise alone (Lin et al. 2023, arXiv 2305.08891)."""
    is_xl: bool = False
    """It is for two text encoders: a whole model that has them, or an embedding for both."""

    @property
    def method(self) -> Method:
        return METHOD_OF_FORM[self.form]


def recognise(header: Header) -> Recognised:
    """What a safetensors file is. Raises WeightsError, in words, for what cannot be taken in."""
    names = header.tensors.keys()
    if any(name.startswith(_UNET) for name in names):
        return _original(header)
    if is_lora(header.tensors):
        return _lora(header)
    for part, algorithm in _ALGORITHMS.items():
        if any(name.endswith(f".{part}") or f".{part}." in name for name in names):
            raise WeightsError(f"It is a {algorithm}, which this app does not read; LoRA files are.")
    if names == set(XL_EMBEDDING):
        return _xl_embedding(header)
    if len(names) == 1:
        return _embedding(header)
    if any(name.startswith(("down_blocks.", "encoder.", "text_model.", "decoder.")) for name in names):
        raise WeightsError("It is one part of a model; a whole one is needed: an original checkpoint or a folder.")
    raise WeightsError(f"What it is cannot be told from its {len(names)} tensors: no embedding, LoRA or whole model.")


def _embedding(header: Header) -> Recognised:
    ((name, tensor),) = header.tensors.items()
    return recognise_embedding(name, tensor, header)


def _xl_embedding(header: Header) -> Recognised:
    """Vectors for both text encoders of Stable Diffusion XL; its text states are as wide as both together."""
    first, second = (recognise_embedding(name, header.tensors[name], header) for name in XL_EMBEDDING)
    if first.vectors != second.vectors:
        raise WeightsError(f"It has {first.vectors} vectors for one text encoder and {second.vectors} for the other.")
    return Recognised(Form.embedding, (first.width or 0) + (second.width or 0), vectors=first.vectors, is_xl=True)


def recognise_embedding(name: str, tensor: TensorShape, header: Header) -> Recognised:
    """One tensor as the vectors [n, width] of an embedding; a single vector may be [width]."""
    check_numbers(header)
    if len(tensor.shape) not in (1, 2) or 0 in tensor.shape:
        raise WeightsError(f"Its one tensor has the shape {list(tensor.shape)}; an embedding is [vectors, width].")
    vectors, width = tensor.shape if len(tensor.shape) == 2 else (1, tensor.shape[0])
    if vectors > MAX_VECTORS:
        raise WeightsError(f"It has {vectors} vectors; a prompt has {MAX_VECTORS} places.")
    return Recognised(Form.embedding, width, tensor=name, vectors=vectors)


def _lora(header: Header) -> Recognised:
    names = header.tensors
    for part, algorithm in _ALGORITHMS.items():
        if any(part in name.rsplit(".", 1)[-1] for name in names):
            raise WeightsError(f"It is a {algorithm}, which this app does not read; plain LoRA files are.")
    check_numbers(header, lambda name: not name.endswith(".alpha"))
    for part, family in _OTHER_MODELS.items():
        if any(re.match(rf"(transformer\.|diffusion_model\.|lora_unet_|lora_transformer_){part}", n) for n in names):
            raise WeightsError(f"It seems to be a LoRA for {family}; Stable Diffusion 1.x, 2.x and XL are read here.")
    layers = read_layers(names)
    widths = {layer.inputs for layer in layers if layer.part == "unet" and _LORA_CONTEXT.search(layer.stem)}
    width = widths.pop() if len(widths) == 1 else _said_width(header.metadata)
    return Recognised(Form.lora, width, layers=tuple(layers))


def _said_width(metadata: dict[str, str]) -> int | None:
    """The width that a trainer's metadata implies, for files without a layer that shows it."""
    said = f"{metadata.get('ss_base_model_version', '')} {metadata.get('modelspec.architecture', '')}".lower()
    if "xl" in said:
        return 2048
    if "v2" in said:
        return 1024
    return 768 if "sd_v1" in said or "stable-diffusion-v1" in said else None


def _original(header: Header) -> Recognised:
    names = header.tensors
    # step counters and noise schedules beside the weights may be integers or doubles
    check_numbers(header, lambda name: name.startswith((_UNET, _FIRST_STAGE)) and name.endswith((".weight", ".bias")))
    widths = {tensor.shape[-1] for name, tensor in names.items() if _ORIGINAL_CONTEXT.fullmatch(name) and tensor.shape}
    is_xl = any(name.startswith("conditioner.embedders.1.") for name in names)
    for part, family in _OTHER_MODELS.items():
        if any(name.startswith(f"{_UNET}{part}") for name in names):
            raise WeightsError(f"It is a model of the family {family}; Stable Diffusion 1.x, 2.x and XL are read here.")
    if any(mark in names for mark in _EDM_MARKS):
        raise WeightsError(f"It {OTHER_NOISE}")
    start = names.get(f"{_UNET}input_blocks.0.0.weight")
    if len(widths) != 1 or start is None or len(start.shape) != 4:
        raise WeightsError("It is a whole model, but none of Stable Diffusion 1.x, 2.x or XL.")
    if start.shape[1] != 4:
        raise WeightsError("It is an inpainting or depth model, which needs more than a prompt; it is not read here.")
    if not any(name.startswith(_FIRST_STAGE) for name in names):
        raise WeightsError("It has no autoencoder in it; a whole checkpoint is needed.")
    if not is_xl and not any(name.startswith("cond_stage_model.") for name in names):
        raise WeightsError("It has no text encoder in it; a whole checkpoint is needed.")
    return Recognised(
        Form.original,
        widths.pop(),
        prediction=_said_prediction(header),
        ends_in_noise=ZERO_SNR_MARK in names,
        is_xl=is_xl,
    )


def _said_prediction(header: Header) -> str | None:
    """What the model predicts, where its metadata or one of its marks says so."""
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    if said in ("v", "v_prediction", "v-prediction") or V_MARK in header.tensors:
        return "v_prediction"
    return "epsilon" if said in ("epsilon", "eps") else None


TWO_KINDS = (
    "a Stable Diffusion 2.x model, of which there are two kinds that look the same. Say which it is: set "
    "base_prediction to v_prediction (the 768 px models) or epsilon (the 512 px ones)."
)


def check_prediction(recognised: Recognised, said: str | None) -> None:
    """Raise WeightsError for a whole 2.x model of which neither its file nor the person says what it predicts."""
    if recognised.form is Form.original and recognised.width == 1024 and not (said or recognised.prediction):
        raise WeightsError(f"It is {TWO_KINDS}")


def check_fit(recognised: Recognised, traits: BaseTraits, base: str) -> None:
    """Raise WeightsError where a file was made for a model of another width than the base."""
    what = {Form.embedding: "embedding", Form.lora: "LoRA", Form.original: "model"}[recognised.form]
    if recognised.width is not None:
        check_width(what, recognised.width, traits, base)


def check_width(what: str, width: int, traits: BaseTraits, base: str) -> None:
    """Raise WeightsError where the base's text states have another width than something was made for."""
    if width == traits.text_width:
        return
    seems = f"it seems to be for {_FAMILIES[width]}" if width in _FAMILIES else "its base is another"
    raise WeightsError(
        f"This {what} is {width} numbers wide, and the base {base} has {traits.text_width}: {seems}. "
        "Choose the base that it was made on."
    )


def recognise_file(path: Path) -> Recognised:
    """What a file is by its content, whatever its name. Raises WeightsError, in words.

    Of a file of PyTorch's only the danger is judged here: its width is known when it has been opened, in a process of
    its own.
    """
    if is_torch_zip(path):
        check_torch_zip(path)
        return Recognised(Form.embedding, None)
    found = recognise(read_header(path))
    check_size(found.form, path.stat().st_size)
    return found


def check_size(form: Form, count: int) -> None:
    """Raise WeightsError for a file that is larger than its kind can be."""
    if count > MAX_BYTES[form]:
        raise WeightsError(
            f"It has {count / 1e9:.1f} GB; at most {MAX_BYTES[form] / 1e9:g} GB are taken in of its kind."
        )

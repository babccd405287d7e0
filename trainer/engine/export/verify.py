"""Opens an artifact the way anybody would, in the stock diffusers pipeline, and asks it for a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors import SafetensorError

from trainer.artifact import EMBEDDING_FILE, LORA_FILE, Manifest, portable_file
from trainer.engine.device import DTYPES, choose_precision
from trainer.engine.export.embeddings import load_embedding
from trainer.engine.families import StockPipeline, stock_pipeline
from trainer.errors import VerificationError
from trainer.recipe.choices import Method, Precision

STEPS = 6
FLAT_STD = 0.01
_ADVICE = "Resume the run; if it happens again, lower the learning rate."


def open_artifact(artifact: Path, manifest: Manifest, base: Path, *, portable: bool = False) -> StockPipeline:
    """The stock pipeline with the artifact loaded; `portable` loads its file for other tools instead.

    A model of ours is told no dtype. A base is: of one that is stored in half precision, transformers would keep the
    text encoder as it is, while diffusers makes everything else fp32, and the two do not work together.

    Raises VerificationError where it does not load.
    """
    file = portable_file(artifact, manifest.name)
    try:
        if manifest.method is Method.dreambooth and portable:
            stock = stock_pipeline(artifact)
            pipeline = stock.from_single_file(str(file), config=str(artifact), local_files_only=True)
        elif manifest.method is Method.dreambooth:
            pipeline = _open_folder(artifact)
        else:
            pipeline = open_base(base)
        if manifest.method is Method.textual_inversion:
            load_embedding(pipeline, file if portable else artifact / EMBEDDING_FILE, manifest.placeholder)
        if manifest.method is Method.dreambooth_lora:
            weights = file.name if portable else LORA_FILE
            pipeline.load_lora_weights(str(artifact), weight_name=weights, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise VerificationError(f"The artifact does not load in diffusers: {error}", _ADVICE) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def open_base(base: Path) -> StockPipeline:
    """The stock pipeline of a base model, in fp32 however it is stored."""
    return _open_folder(base, torch_dtype=torch.float32)


def _open_folder(model: Path, **options: Any) -> StockPipeline:
    stock = stock_pipeline(model)
    if stock is StableDiffusionPipeline:
        options["safety_checker"] = None
    return stock.from_pretrained(model, local_files_only=True, use_safetensors=True, **options)


def try_picture(pipeline: StockPipeline, manifest: Manifest, device: torch.device) -> Image.Image:
    """One picture of the concept. Raises VerificationError unless it is finite and not flat."""
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    try:
        pixels = draw(pipeline, manifest, device, _dtype_on(device))
    except torch.OutOfMemoryError:  # another program may use the GPU
        cpu = torch.device("cpu")
        pixels = draw(pipeline, manifest, cpu, _dtype_on(cpu))
    if not np.isfinite(pixels).all():
        raise VerificationError("The artifact makes pictures that are not numbers.", _ADVICE)
    if float(pixels.std()) < FLAT_STD:
        raise VerificationError("The artifact makes flat pictures.", _ADVICE)
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def _dtype_on(device: torch.device) -> torch.dtype:
    """What is drawn in: half precision on a GPU, where a large model in fp32 may have no room."""
    return DTYPES[choose_precision(Precision.auto, device.type)] if device.type == "cuda" else torch.float32


@torch.no_grad()
def draw(pipeline: StockPipeline, manifest: Manifest, device: torch.device, dtype: torch.dtype) -> np.ndarray:
    """float32 [height, width, 3] in [0, 1], denoised in `dtype`; decoded in fp32, as some autoencoders overflow."""
    vae: Any = pipeline.vae
    processor: Any = pipeline.image_processor
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module) and part is not vae:
            part.to(dtype)
    pipeline.to(device)
    made: Any = pipeline(
        f"a picture of {manifest.words_in_diffusers}",
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        height=manifest.resolution_px,
        width=manifest.resolution_px,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="latent",
    )
    pixels = vae.decode(made.images.float() / vae.config["scaling_factor"], return_dict=False)[0]
    return processor.postprocess(pixels, output_type="np")[0]

"""Goes on from a starter that was exported before: its autoencoder and tokenizer stay, its weights are the start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

POSITIONS = "embeddings.position_embedding.weight"


def load_autoencoder(starter: Path, device: torch.device) -> AutoencoderKL:
    model: Any = AutoencoderKL.from_pretrained(starter / "vae")
    return model.eval().to(device)


def adopt_tokenizer(starter: Path, folder: Path, *, max_tokens: int) -> CLIPTokenizer:
    """Copy the tokenizer to `folder`, for prompts of `max_tokens`."""
    shutil.copytree(starter / "tokenizer", folder, dirs_exist_ok=True)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"model_max_length": max_tokens}
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def load_weights(text_encoder: CLIPTextModel, unet: UNet2DConditionModel, starter: Path) -> None:
    """Put the starter's weights into both; of its text positions as many as the text encoder has."""
    unet.load_state_dict(UNet2DConditionModel.from_pretrained(starter / "unet").state_dict())
    state = CLIPTextModel.from_pretrained(starter / "text_encoder", dtype=torch.float32).state_dict()
    own = text_encoder.state_dict()
    (positions,) = [name for name in own if name.endswith(POSITIONS)]
    state[positions] = state[positions][: len(own[positions])]
    text_encoder.load_state_dict(state)

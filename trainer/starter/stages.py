"""Names for what the stages keep, by what they were made from: no stage goes on with another recipe's leftovers."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from trainer.starter import looks, pictures, scenes, textures
from trainer.starter.sources import Thing


def pictures_key(things: list[Thing], surfaces: int) -> str:
    """Of pictures: what they show, and the code that draws them."""
    code = [Path(inspect.getfile(module)).read_bytes() for module in (looks, pictures, scenes, textures)]
    return _digest(repr((things, surfaces)).encode(), *code)


def weights_key(model: torch.nn.Module) -> str:
    """Of what a model made: its weights."""
    return _digest(*(tensor.detach().cpu().numpy().tobytes() for tensor in model.state_dict().values()))


def denoiser_key(autoencoder: torch.nn.Module, tokenizer: CLIPTokenizer, device: str) -> str:
    """Of a denoiser in training: whose latents and tokens it reads, and by which optimizer. Pictures may change."""
    return _digest(
        weights_key(autoencoder).encode(), json.dumps(tokenizer.get_vocab(), sort_keys=True).encode(), device.encode()
    )


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:8]

"""The vectors of a textual inversion as files, whoever made them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from trainer.artifact import EMBEDDING_FILE, portable_file
from trainer.concept import ConceptWords


def write_embedding(folder: Path, words: ConceptWords, rows: torch.Tensor) -> None:
    """Write rows [vectors, width] for diffusers, and for tools that take the file's name for the trigger."""
    rows = rows.detach().float().cpu().contiguous()
    save_file({words.placeholder: rows}, folder / EMBEDDING_FILE, metadata={"format": "pt"})
    # AUTOMATIC1111 and ComfyUI take one tensor of any name for the vectors
    save_file({"emb_params": rows}, portable_file(folder, words.name), metadata={"format": "pt"})


def embedding_is_in(pipeline: StableDiffusionPipeline, words: ConceptWords, rows: torch.Tensor) -> bool:
    """Whether a stock pipeline has exactly these rows for the concept's tokens."""
    ids = pipeline.tokenizer.convert_tokens_to_ids(list(words.tokens))
    loaded = pipeline.text_encoder.get_input_embeddings().weight[ids]
    return torch.equal(loaded.float().cpu(), rows.detach().float().cpu())

"""The vectors of a textual inversion as files, whoever made them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from trainer.artifact import EMBEDDING_FILE, portable_file
from trainer.bases import TEXT_ENCODERS, tokenizer_of
from trainer.concept import ConceptWords
from trainer.engine.families import StockPipeline
from trainer.engine.families.stable_diffusion_xl import pool_at_end
from trainer.imports.recognise import XL_EMBEDDING

XL_NAMES = dict(zip(TEXT_ENCODERS["stable-diffusion-xl"], XL_EMBEDDING, strict=True))
"""What a file calls the vectors, by the text encoder that reads them."""


def write_embedding(folder: Path, words: ConceptWords, rows: dict[str, torch.Tensor]) -> None:
    """Write rows [vectors, width], by text encoder, for diffusers and for tools whose trigger is the file's name.

    Of one text encoder diffusers takes the tensor's name for the token, and others take a tensor of any name.
    """
    plain = {part: tensor.detach().float().cpu().contiguous() for part, tensor in rows.items()}
    if len(plain) > 1:
        named = portable = {XL_NAMES[part]: tensor for part, tensor in plain.items()}
    else:
        (only,) = plain.values()
        named, portable = {words.placeholder: only}, {"emb_params": only}
    save_file(named, folder / EMBEDDING_FILE, metadata={"format": "pt"})
    save_file(portable, portable_file(folder, words.name), metadata={"format": "pt"})


def load_embedding(pipeline: StockPipeline, file: Path, token: str) -> None:
    """Load such a file into a stock pipeline, for every text encoder that it has vectors for.

    Raises ValueError or KeyError where it does not fit.
    """
    if not hasattr(pipeline, "text_encoder_2"):
        pipeline.load_textual_inversion(str(file), token=token, local_files_only=True)
        return
    tensors = load_file(file)
    for part, name in XL_NAMES.items():
        pipeline.load_textual_inversion(
            {token: tensors[name]},
            token=token,
            text_encoder=getattr(pipeline, part),
            tokenizer=getattr(pipeline, tokenizer_of(part)),
        )
    pool_at_end(pipeline.text_encoder_2, pipeline.tokenizer_2)


def put_rows(pipeline: StockPipeline, words: ConceptWords, rows: dict[str, torch.Tensor]) -> None:
    """Other rows for the concept's tokens, which are loaded in a stock pipeline."""
    for part, wanted in rows.items():
        table = _table(pipeline, part)
        table[_ids(pipeline, part, words)] = wanted.to(table)


def unload_embedding(pipeline: StockPipeline, tokens: list[str]) -> None:
    """Take a textual inversion's tokens out of every text encoder of a stock pipeline."""
    for part in XL_NAMES:
        if hasattr(pipeline, part):
            pipeline.unload_textual_inversion(
                tokens,
                tokenizer=getattr(pipeline, tokenizer_of(part)),
                text_encoder=getattr(pipeline, part),
            )


def embedding_is_in(pipeline: StockPipeline, words: ConceptWords, rows: dict[str, torch.Tensor]) -> bool:
    """Whether a stock pipeline has exactly these rows for the concept's tokens."""
    for part, wanted in rows.items():
        loaded = _table(pipeline, part)[_ids(pipeline, part, words)]
        if not torch.equal(loaded.float().cpu(), wanted.detach().float().cpu()):
            return False
    return True


def _table(pipeline: StockPipeline, part: str) -> torch.Tensor:
    return getattr(pipeline, part).get_input_embeddings().weight.detach()


def _ids(pipeline: StockPipeline, part: str, words: ConceptWords) -> list[int]:
    return getattr(pipeline, tokenizer_of(part)).convert_tokens_to_ids(list(words.tokens))

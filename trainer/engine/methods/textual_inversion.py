"""Textual inversion (Gal et al. 2022): a few new rows of the token embedding are the only trained parameters."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import CLIPTokenizer

from trainer.concept import words_of
from trainer.engine.export.embeddings import embedding_is_in, write_embedding
from trainer.engine.families import Family, StockPipeline
from trainer.engine.methods.base import ParameterGroup
from trainer.errors import Problem, RecipeError
from trainer.recipe.config import TextualInversionRecipe


class ConceptEmbedding(nn.Module):
    """A frozen token embedding with trainable rows for the ids behind it.

    The table itself never gets a gradient or an optimizer state: for SD 1.5 that saves 0.6 GB and most of a step.
    """

    def __init__(self, table: nn.Embedding, rows: torch.Tensor) -> None:
        super().__init__()
        self.table = table
        self.rows = nn.Parameter(rows.detach().clone().float())

    @property
    def weight(self) -> torch.Tensor:
        """The whole table as transformers expects it of an embedding, [vocabulary + vectors, width]."""
        return torch.cat([self.table.weight, self.rows.to(self.table.weight.dtype)])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        first = self.table.num_embeddings
        is_new = ids >= first
        known = self.table(ids.masked_fill(is_new, 0))
        learnt = self.rows[(ids - first).clamp(min=0)].to(known.dtype)
        return torch.where(is_new.unsqueeze(-1), learnt, known)


class TextualInversion:
    """The method, prepared: tokens added, rows initialised from the initializer words."""

    def __init__(self, recipe: TextualInversionRecipe, family: Family) -> None:
        self._recipe, self._words = recipe, words_of(recipe)
        self._embeddings: dict[str, ConceptEmbedding] = {}
        for part, encoder in family.text_encoders.items():
            embeddings, tokenizer = encoder.get_input_embeddings(), family.tokenizers[part]
            if not isinstance(embeddings, nn.Embedding):
                raise TypeError("the text encoder holds a concept already")
            rows = initial_rows(recipe, tokenizer, embeddings.weight.float())
            add_tokens(tokenizer, list(self._words.tokens), expected_first=embeddings.num_embeddings)
            self._embeddings[part] = ConceptEmbedding(embeddings, rows).to(embeddings.weight.device)
            encoder.set_input_embeddings(self._embeddings[part])

    @property
    def _rows(self) -> dict[str, nn.Parameter]:
        """The trained rows by the part of the text encoder that reads them."""
        return {part: embedding.rows for part, embedding in self._embeddings.items()}

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self._rows.values()), self._recipe.learning_rate, self._recipe.steps)]

    def trains_text(self, step: int) -> bool:
        return True

    def tensors(self) -> dict[str, torch.Tensor]:
        return {_stored_as(part): rows.detach() for part, rows in self._rows.items()}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for part, rows in self._rows.items():
                rows.copy_(tensors[_stored_as(part)])

    def write(self, folder: Path) -> None:
        write_embedding(folder, self._words, dict(self._rows))

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        return embedding_is_in(pipeline, self._words, dict(self._rows))


def _stored_as(part: str) -> str:
    """What a checkpoint calls the rows of a text encoder; the first one's had this name when there was no other."""
    return "rows" if part == "text_encoder" else f"{part}.rows"


def stored_rows(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A checkpoint's rows by the part of the text encoder that reads them."""
    return {"text_encoder" if name == "rows" else name.removesuffix(".rows"): rows for name, rows in tensors.items()}


def add_tokens(tokenizer: CLIPTokenizer, tokens: list[str], *, expected_first: int) -> None:
    """Add new tokens with consecutive ids. Raises RecipeError for one that exists, whatever `add_tokens` says of it."""
    known = tokenizer.get_vocab()
    taken = [token for token in tokens if token in known]
    if taken:
        raise RecipeError([Problem("name", f"the base model has a token {taken[0]} already; choose another name")])
    tokenizer.add_tokens(tokens)
    ids = tokenizer.convert_tokens_to_ids(tokens)
    if ids != list(range(expected_first, expected_first + len(tokens))):
        raise RecipeError(
            [Problem("base", "its tokenizer and its text encoder disagree on the size of the vocabulary")]
        )


def initial_rows(recipe: TextualInversionRecipe, tokenizer: CLIPTokenizer, table: torch.Tensor) -> torch.Tensor:
    """Starting rows [vectors, width]: the initializer's own embeddings, repeated with a little noise when they run out.

    Without words to start from (a style), rows are drawn with the table's own mean and spread.
    """
    generator = torch.Generator("cpu").manual_seed(recipe.seed)
    spread = table.std(dim=0).cpu()
    draw = torch.randn(recipe.vectors, table.shape[1], generator=generator) * spread
    words = recipe.initializer or recipe.class_word
    ids = tokenizer(words, add_special_tokens=False).input_ids if words else []
    if not ids:
        return table.mean(dim=0).cpu() + draw
    start = torch.stack([table[ids[i % len(ids)]].cpu() for i in range(recipe.vectors)])
    # Two equal rows would get equal gradients and never part, so a repeated one starts a little elsewhere.
    fresh = torch.tensor([i >= len(ids) for i in range(recipe.vectors)])
    return start + draw * 0.1 * fresh.unsqueeze(1)

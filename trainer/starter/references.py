"""Words made from a picture: in a share of the captions they stand for the thing, or for the whole picture.

So the denoiser learns to draw from any point of a word space that describes appearance, not from a few hundred nouns
alone, and textual inversion has somewhere to search. The idea is that of encoders for personalization (ELITE, Wei et
al. 2023, arXiv 2302.13848), turned round: here the base learns from them, and the encoder is thrown away.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import torch
from torch import nn

from trainer.starter.scenes import Scene

GRID = 4
VECTORS = GRID * GRID
MARKER = "~"  # a token of its own that no caption uses
WORDS = " ".join([MARKER] * VECTORS)


class ReferenceEncoder(nn.Module):
    """Latents [batch, 4, 32, 32] to embeddings [batch, VECTORS, width], one for each cell of a grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (4, 32, 96, width)
        halvings = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(channels)]
        self.seen = nn.Sequential(halvings[0], nn.SiLU(), halvings[1], nn.SiLU(), halvings[2])
        self.places = nn.Parameter(torch.randn(VECTORS, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.02)  # as large as a token's embedding at the start

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.norm(self.seen(latents).flatten(2).transpose(1, 2) + self.places)


@contextlib.contextmanager
def placed(embedding: nn.Module, marker_id: int, vectors: torch.Tensor) -> Iterator[None]:
    """While entered, `embedding` gives example i's `vectors` [examples, VECTORS, width] for its markers, in order."""

    def replace(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        marked = inputs[0] == marker_id
        place = (marked.cumsum(1) - 1).clamp(0, vectors.shape[1] - 1)
        placed = vectors.to(output.dtype).gather(1, place.unsqueeze(-1).expand_as(output))
        return torch.where(marked.unsqueeze(-1), placed, output)

    hook = embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


def twins_of(scenes: list[Scene]) -> dict[tuple[object, ...], list[int]]:
    """Which pictures show one and the same thing in the same style."""
    twins: dict[tuple[object, ...], list[int]] = {}
    for number, scene in enumerate(scenes):
        if len(scene.items) == 1:
            twins.setdefault((scene.style, scene.items), []).append(number)
    return twins

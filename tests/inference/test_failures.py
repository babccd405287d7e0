"""What is said of pictures that could not be made, and what is tried before it comes to that."""

from __future__ import annotations

import errno

import pytest
import torch
from PIL import Image

from inference.engine import MAX_BATCH, _in_batches
from inference.failures import explain_picture
from trainer.errors import ConceptError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "GPU ran out of memory. Try a smaller"),
        (MemoryError(), "machine ran out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (ConceptError("The concept <mug> is not here any more."), "not here any more"),
        (FileNotFoundError("/home/somebody/secret.safetensors"), "unexpected went wrong (FileNotFoundError)"),
    ],
)
def test_words_help_with_pictures_and_name_no_folder(error: Exception, words: str) -> None:
    said = str(explain_picture(error))
    assert words in said
    for of_training in ("Resume", "batch size", "/home"):
        assert of_training not in said


def drawn(seeds: list[int]) -> list[Image.Image]:
    return [Image.new("L", (1, 1), seed) for seed in seeds]


def test_pictures_are_drawn_one_by_one_where_the_gpu_has_no_memory_for_more() -> None:
    asked: list[tuple[list[int], int]] = []

    def draw(seeds: list[int], begin: int) -> list[Image.Image]:
        asked.append((seeds, begin))
        if len(seeds) > 1 and begin:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return drawn(seeds)

    pictures = _in_batches([1, 2, 3, 4, 5, 6], draw)
    assert [picture.getpixel((0, 0)) for picture in pictures] == [1, 2, 3, 4, 5, 6]
    assert asked == [([1, 2, 3, 4], 0), ([5, 6], 4), ([5], 4), ([6], 5)]


def test_one_picture_that_is_too_large_is_too_large() -> None:
    asked: list[int] = []

    def draw(seeds: list[int], _begin: int) -> list[Image.Image]:
        asked.append(len(seeds))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        _in_batches([1, 2, 3, 4, 5], draw)
    assert asked == [MAX_BATCH, 1]

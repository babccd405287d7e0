"""Text states for training: computed once a prompt while the text encoder is frozen, anew while it learns.

The text encoder is trained in the first steps of a run or not at all, so what was remembered stays true.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import CLIPTokenizer

from trainer.engine.families import Conditioning, Family


class TextStates:
    """Text conditioning of prompts; a dropped caption, which is empty, gets the unconditional one of sampling."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._known: dict[str, Conditioning] = {}

    def learning(self, prompts: list[str]) -> Conditioning:
        """With gradients; each distinct prompt is encoded once."""
        told: dict[str, Conditioning] = {}
        if asked := [prompt for prompt in dict.fromkeys(prompts) if prompt]:
            encoded = self._family.encode_prompts(asked)
            told |= {prompt: encoded[number : number + 1] for number, prompt in enumerate(asked)}
        if "" in prompts:
            told[""] = self._family.unconditional()
        return Conditioning.joined([told[prompt] for prompt in prompts])

    @torch.no_grad()
    def frozen(self, prompts: list[str]) -> Conditioning:
        """Without gradients, from memory where possible; always encoded one by one, so that company changes nothing."""
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._family.encode_prompts([prompt]) if prompt else self._family.unconditional()
        return Conditioning.joined([self._known[p] for p in prompts])


def fit_captions(
    prompts: list[list[str]], trained_words: str, tokenizer: CLIPTokenizer, warn: Callable[[str], None]
) -> list[list[str]]:
    """The prompts of photos, with the trained words in front where they would be cut off: nothing would be learnt.

    A text encoder reads no more than `model_max_length` tokens. That some prompts are longer is said once.
    """
    trained: list[int] = tokenizer(trained_words, add_special_tokens=False).input_ids

    def is_read(prompt: str) -> bool:
        ids: list[int] = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length).input_ids
        return any(ids[i : i + len(trained)] == trained for i in range(len(ids)))

    fitted = [[p if is_read(p) else f"{trained_words}, {p}" for p in of_photo] for of_photo in prompts]
    longest = max(len(tokenizer(p).input_ids) for of_photo in fitted for p in of_photo)
    if longest > tokenizer.model_max_length:
        limit = tokenizer.model_max_length - 2  # without the marks of start and end
        warn(f"A photo's words are longer than the base can read; what follows their first {limit} tokens is left out.")
    return fitted

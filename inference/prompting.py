"""Prompts with compel's weights as what a denoiser is told, by however many text encoders a family has."""

from __future__ import annotations

import logging
from typing import Any

import torch
from compel import Compel, ReturnedEmbeddingsType

from trainer.engine.families import Conditioning, Family
from trainer.engine.sampling import Prompts

log = logging.getLogger(__name__)
_NOT_UNDERSTOOD = "The weights in the prompt were not understood; it was read as plain words."


@torch.no_grad()
def encode(family: Family, positive: str, negative: str) -> tuple[Prompts, list[str]]:
    """Both prompts, of equal length however long they are, and sentences for the person.

    One that compel cannot parse is taken as plain words.
    """
    has_two = len(family.text_encoders) > 1
    layer = (
        ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        if has_two
        else ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
    )
    notes: dict[str, None] = {}
    readers: list[Any] = [
        Compel(family.tokenizers[part], encoder, truncate_long_prompts=False, returned_embeddings_type=layer)
        for part, encoder in family.text_encoders.items()
    ]
    read = [[_states(compel, prompt, notes) for prompt in (positive, negative)] for compel in readers]
    longest = max(states.shape[1] for both in read for states in both)
    read = [_padded(compel, both, longest) for compel, both in zip(readers, read, strict=True)]
    wanted, unwanted = (torch.cat(states, dim=-1) for states in zip(*read, strict=True))
    if not has_two:
        return Prompts(Conditioning(wanted), Conditioning(unwanted)), list(notes)
    pooled = [family.encode_prompts([_plain(readers[0], prompt)]).pooled for prompt in (positive, negative)]
    if not negative.strip():
        nothing = family.unconditional()
        if not nothing.states.any():  # of any length
            unwanted, pooled[1] = torch.zeros_like(wanted), nothing.pooled
    return Prompts(Conditioning(wanted, pooled[0]), Conditioning(unwanted, pooled[1])), list(notes)


def _states(compel: Any, prompt: str, notes: dict[str, None]) -> torch.Tensor:
    try:
        return compel.build_conditioning_tensor(prompt)
    except Exception as error:  # noqa: BLE001 - compel's parser raises pyparsing's, its own and plain errors alike
        log.info("compel: %s", error)
        notes[_NOT_UNDERSTOOD] = None
        plain = compel.conditioning_provider.get_embeddings_for_weighted_prompt_fragments
        return plain([[prompt]], [[1.0]], device=compel.device)


def _padded(compel: Any, states: list[torch.Tensor], length: int) -> list[torch.Tensor]:
    """States [1, tokens, width] up to a length that the other encoder's have: two tokenizers may count differently."""
    measure = states[0].new_zeros(1, length, states[0].shape[-1])
    return compel.pad_conditioning_tensors_to_same_length([*states, measure])[:-1]


def _plain(compel: Any, prompt: str) -> str:
    """A prompt's words without their weights: a pooled vector has no place for them."""
    try:
        parts = compel.parse_prompt_string(prompt).prompts
        return " ".join(fragment.text for part in parts for fragment in part.children)
    except Exception:  # noqa: BLE001 - as above
        return prompt

"""Stable Diffusion XL (Podell et al. 2023, arXiv 2307.01952): two text encoders, and pictures' sizes as a condition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from trainer.engine.families.conditioning import Conditioning
from trainer.engine.families.stable_diffusion import StableDiffusion
from trainer.engine.transfers import to_device


class StableDiffusionXL(StableDiffusion):
    """A loaded Stable Diffusion XL model.

    It is told the size of a picture before it was cropped, where it was cropped, and the size that is wanted. Training
    squares are told as pictures of their own size, not cropped at all: that is what is asked for when sampling.
    """

    TEXT_MODELS: ClassVar[dict[str, Any]] = {
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }

    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(folder, device=device, dtype=dtype)
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        # the published model was trained so that an empty prompt is all zeros
        self._zeros_for_nothing = bool(index.get("force_zeros_for_empty_prompt", True))
        second = self.text_encoders["text_encoder_2"]
        assert isinstance(second, CLIPTextModelWithProjection)
        pool_at_end(second, self.tokenizers["text_encoder_2"])

    def encode_prompts(self, prompts: list[str]) -> Conditioning:
        read = {
            part: encoder(self._ids(prompts, part), output_hidden_states=True)
            for part, encoder in self.text_encoders.items()
        }
        # of both encoders the last layer but one, as the model was trained
        states = torch.cat([output.hidden_states[-2] for output in read.values()], dim=-1)
        return Conditioning(states, read["text_encoder_2"].text_embeds)

    def unconditional(self) -> Conditioning:
        nothing = self.encode_prompts([""])
        if not self._zeros_for_nothing:
            return nothing
        assert nothing.pooled is not None
        # multiplied, so that they still hang on what is learnt: a batch may have no other captions to go back through
        return Conditioning(nothing.states * 0, nothing.pooled * 0)

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        dtype = self.unet.dtype
        height, width = (side * self.latent_scale for side in noisy.shape[-2:])
        size = to_device(torch.tensor([[height, width, 0, 0, height, width]], dtype=dtype), noisy.device)
        assert conditioning.pooled is not None
        added = {"text_embeds": conditioning.pooled.to(dtype), "time_ids": size.expand(len(noisy), -1)}
        states = conditioning.states.to(dtype)
        return self.unet(noisy.to(dtype), timesteps, states, added_cond_kwargs=added, return_dict=False)[0]

    def _pipeline_options(self) -> dict[str, Any]:
        return {"force_zeros_for_empty_prompt": self._zeros_for_nothing, "add_watermarker": False}


def pool_at_end(encoder: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer) -> None:
    """Let a text encoder take its pooled vector where the text ends, as it was trained.

    The published configuration says that the end is token 2, which transformers reads as "the highest token id": the
    end of text, until a textual inversion adds ids above it. Then all that follows the placeholder would be lost.
    """
    encoder.text_model.eos_token_id = tokenizer("").input_ids[-1]

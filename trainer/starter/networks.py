"""The trained parts of the starter: denoiser, text encoder, and the encoder of references, which is thrown away."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from trainer.starter import references

TEXT_WIDTH = 160
DENOISER_CHANNELS = (32, 64, 160, 192)
TIMESTEPS = 1000


def build_unet() -> UNet2DConditionModel:
    """12.5 M parameters over 32 x 32 x 4 latents: few channels where pixels are many, attention from 16 x 16 down."""
    unet: Any = UNet2DConditionModel  # its annotations allow tuples of one only
    return unet(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=DENOISER_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(c // 32 for c in DENOISER_CHANNELS),  # diffusers' name for the number of heads
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text model of about 1.2 M parameters."""
    make_config: Any = CLIPTextConfig
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_attention_heads=5,
        num_hidden_layers=3,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_act="gelu",
    )
    return CLIPTextModel(config)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule with zero terminal SNR."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=TIMESTEPS,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class TextAndDenoiser(torch.nn.Module):
    """All trained parts as one module, for one optimizer and one average. The reference encoder is not exported."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()
        self.references = references.ReferenceEncoder(TEXT_WIDTH)
        self.marker_id = tokenizer.get_vocab()[f"{references.MARKER}</w>"]

    def text_states(self, ids: torch.Tensor, reference_latents: torch.Tensor) -> torch.Tensor:
        """States [batch, tokens, width] of prompts; each prompt's markers stand for its own reference."""
        vectors = self.references(reference_latents)
        with references.placed(self.text_encoder.get_input_embeddings(), self.marker_id, vectors):
            return self.text_encoder(ids)[0]

"""Chooses the attention kernel by trying it: a forward and a backward pass at the real head size and dtype."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention as AttentionLayer
from diffusers.models.attention_processor import AttnProcessor, XFormersAttnProcessor

log = logging.getLogger(__name__)
SDPA = "PyTorch SDPA"
PLAIN = "plain matrix products"
SMALL_LATENT_SIZE = 32  # up to here a CPU trains a third faster with them than with the fused kernel (measured)


@dataclass(frozen=True)
class Attention:
    """The kernel in use: `name` for people, and whether xformers runs it."""

    name: str
    xformers: bool


def choose_attention(unet: UNet2DConditionModel, dtype: torch.dtype) -> Attention:
    """xformers where its kernels run forward and backward on this GPU, else SDPA; switches the UNet to it.

    On a CPU and small latents plain matrix products win.
    """
    device = next(unet.parameters()).device
    if device.type == "cpu" and unet.config["sample_size"] <= SMALL_LATENT_SIZE:
        unet.set_attn_processor(AttnProcessor())
        return Attention(PLAIN, xformers=False)
    operator = probe_xformers(device, dtype, head_sizes(unet)) if device.type == "cuda" else None
    if operator is None:
        return Attention(SDPA, xformers=False)
    unet.set_attn_processor(XFormersAttnProcessor())  # diffusers' own switch tries fp32 first, which fails on new GPUs
    return Attention(f"xformers {operator}", xformers=True)


def head_sizes(unet: UNet2DConditionModel) -> set[int]:
    """Channels per attention head of every attention layer."""
    return {m.to_q.out_features // m.heads for m in unet.modules() if isinstance(m, AttentionLayer)}


def probe_xformers(device: torch.device, dtype: torch.dtype, sizes: set[int]) -> str | None:
    """The names of xformers' operators if they run and agree with SDPA in output and gradient, else None."""
    try:
        from xformers import ops  # noqa: PLC0415 - optional: only some platforms have a wheel
    except ImportError:
        return None
    names: set[str] = set()
    for size in sorted(sizes):
        try:
            names.add(_try_operator(ops, device, dtype, size))
        except (RuntimeError, NotImplementedError, ValueError) as error:
            log.info("xformers does not run at head size %d in %s: %s", size, dtype, error)
            return None
    return "+".join(sorted(names))


def _try_operator(ops: object, device: torch.device, dtype: torch.dtype, size: int) -> str:
    """Run one head size; the operator's name. Raises RuntimeError where the result is wrong."""
    generator = torch.Generator(device).manual_seed(0)
    draw = [torch.randn(2, 64, 4, size, device=device, dtype=dtype, generator=generator) for _ in range(3)]
    ours = [t.clone().requires_grad_() for t in draw]
    theirs = [t.clone().requires_grad_() for t in draw]
    output = ops.memory_efficient_attention(*ours)  # type: ignore[attr-defined]
    q, k, v = (t.transpose(1, 2) for t in theirs)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    output.float().pow(2).sum().backward()
    expected.float().pow(2).sum().backward()
    for mine, reference in [(output, expected), *((a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))]:
        if (
            mine is None
            or reference is None
            or not torch.allclose(mine.float(), reference.float(), rtol=0.05, atol=0.05)
        ):
            raise RuntimeError("its result differs from SDPA's")
    inputs = ops.fmha.Inputs(*draw)  # type: ignore[attr-defined]
    return str(ops.fmha._dispatch_fw(inputs, needs_gradient=True).NAME)  # type: ignore[attr-defined]  # noqa: SLF001

"""A whole model as one fp16 .safetensors in the original Stable Diffusion layout, which AUTOMATIC1111 and ComfyUI open.

The layout is that of CompVis' and Stability's checkpoints: blocks are counted through, and the text encoder stands in
Hugging Face's naming (1.x) or OpenCLIP's (2.x); XL has one of each.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from trainer.bases import read_json
from trainer.engine.export.pipeline_folder import parts_of, read_part
from trainer.imports.recognise import V_MARK, ZERO_SNR_MARK

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "encoder.layers": "transformer.resblocks",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def write_single_file(folder: Path, target: Path) -> None:
    """Write the pipeline in `folder`, of any family, as the one file `target`."""
    parts: list[Any] = [read_part(part, folder / part, torch.float16) for part in parts_of(folder)]
    unet, vae, *texts = parts
    tensors = {
        f"model.diffusion_model.{original_unet_name(name, unet)}": tensor for name, tensor in unet.state_dict().items()
    }
    blocks = len(vae.config["block_out_channels"])
    for name, tensor in vae.state_dict().items():
        original = _vae_name(name, blocks)
        tensors[f"first_stage_model.{original}"] = _as_convolution(tensor) if ".attn_1." in original else tensor
    tensors |= _text_encoders(texts)
    marks = _marks(read_json(folder / "scheduler" / "scheduler_config.json", "incomplete: its scheduler is missing"))
    if len(texts) == 2:
        tensors |= {mark: torch.zeros(0) for mark in marks}
    halves = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    said = "v" if V_MARK in marks else "epsilon"
    save_file(halves, target, metadata={"format": "pt", "modelspec.prediction_type": said})


def _marks(schedule: dict[str, Any]) -> list[str]:
    """Empty tensors by which other tools know XL models that are not noised and asked like the published one."""
    is_marked = {
        V_MARK: schedule.get("prediction_type") == "v_prediction",
        ZERO_SNR_MARK: bool(schedule.get("rescale_betas_zero_snr")),
    }
    return [mark for mark, is_there in is_marked.items() if is_there]


def original_unet_name(name: str, unet: Any) -> str:
    """A name of this UNet2DConditionModel's parameters or modules as the original writes it."""
    layers = int(unet.config["layers_per_block"])
    with_attention = ["CrossAttn" in kind for kind in unet.config["up_block_types"]]
    if (match := _BLOCK.fullmatch(name)) is None:
        return _inside_resnet(_renamed(name, _UNET_ENDS))
    way, block, part, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    first = block * (layers + 1) + (1 if way == "down" else 0)
    match part:
        case "resnets":
            place = f"{first + index}.0.{_renamed(rest, _RESNET)}"
        case "attentions":
            place = f"{first + index}.1.{rest}"
        case "downsamplers":
            place = f"{first + layers}.0.{rest.replace('conv', 'op')}"
        case _:
            place = f"{first + layers}.{2 if with_attention[block] else 1}.{rest}"
    return f"{'input' if way == 'down' else 'output'}_blocks.{place}"


def _inside_resnet(name: str) -> str:
    """Only the middle block's residual parts are left to rename when its place already is."""
    match = re.fullmatch(r"(middle_block\.[02])\.(.+)", name)
    return f"{match[1]}.{_renamed(match[2], _RESNET)}" if match else name


def _vae_name(name: str, blocks: int) -> str:
    """A name of AutoencoderKL as the original writes it, which counts the decoder's blocks from the end."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        place, _, rest = name.partition("mid_block.attentions.0.")
        return f"{place}mid.attn_1.{_renamed(rest, _VAE_ATTENTION)}"
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)


def _as_convolution(tensor: torch.Tensor) -> torch.Tensor:
    """The original's attention in the autoencoder is made of 1 x 1 convolutions, not of matrices."""
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor


def _text_encoders(texts: list[Any]) -> dict[str, torch.Tensor]:
    if len(texts) == 2:
        first, second = (text.state_dict() for text in texts)
        return _clip(first, "conditioner.embedders.0.transformer.") | _open_clip(
            second, "conditioner.embedders.1.model."
        )
    (text,) = texts
    if text.config.hidden_act == "gelu":  # 2.x took OpenCLIP's encoder, 1.x OpenAI's with quick_gelu
        return _open_clip(text.state_dict(), "cond_stage_model.model.")
    return _clip(text.state_dict(), "cond_stage_model.transformer.")


def _clip(state: dict[str, torch.Tensor], place: str) -> dict[str, torch.Tensor]:
    return {f"{place}text_model.{_bare(name)}": tensor for name, tensor in state.items()}


def _open_clip(state: dict[str, torch.Tensor], place: str) -> dict[str, torch.Tensor]:
    """OpenCLIP keeps query, key and value in one matrix, and its projection the other way round."""
    tensors = {}
    bare = {_bare(name): tensor for name, tensor in state.items()}
    for name, tensor in bare.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([bare[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"])
            name = re.sub(r"self_attn\.q_proj\.(weight|bias)", r"attn.in_proj_\1", name)
        if name == "text_projection.weight":
            name, tensor = "text_projection", tensor.T
        for ours, theirs in _OPEN_CLIP.items():
            name = name.replace(ours, theirs)
        tensors[f"{place}{name}"] = tensor
    return tensors


def _bare(name: str) -> str:
    """transformers 5 dropped the prefix that older versions, and every checkpoint, have."""
    return name.removeprefix("text_model.")


def _renamed(name: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        if name == ours or name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return name

"""Which layers a LoRA file adapts, in every naming, and what is said of a name that is not understood."""

from __future__ import annotations

import pytest

from trainer.errors import WeightsError
from trainer.imports.lora_layers import is_lora, read_layers
from trainer.imports.recognise import recognise
from trainer.imports.weights_file import Header, TensorShape

ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn2"
STEM = f"{ATTENTION.replace('.', '_')}_to_k"


def pair(down: str, up: str, inputs: int = 768, outputs: int = 320, rank: int = 4) -> dict[str, TensorShape]:
    return {down: TensorShape("F16", (rank, inputs)), up: TensorShape("F16", (outputs, rank))}


NAMINGS = {
    "kohya": pair(f"lora_unet_{STEM}.lora_down.weight", f"lora_unet_{STEM}.lora_up.weight"),
    "peft": pair(f"unet.{ATTENTION}.to_k.lora_A.weight", f"unet.{ATTENTION}.to_k.lora_B.weight"),
    "peft with its adapter's name": pair(
        f"unet.{ATTENTION}.to_k.lora_A.default.weight", f"unet.{ATTENTION}.to_k.lora_B.default.weight"
    ),
    "diffusers": pair(f"unet.{ATTENTION}.to_k.lora.down.weight", f"unet.{ATTENTION}.to_k.lora.up.weight"),
    "diffusers of old": pair(
        f"unet.{ATTENTION}.processor.to_k_lora.down.weight", f"unet.{ATTENTION}.processor.to_k_lora.up.weight"
    ),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_layer_is_the_same_in_every_naming(naming: str) -> None:
    (layer,) = read_layers(NAMINGS[naming])
    assert (layer.part, layer.stem) == ("unet", STEM)
    assert (layer.rank, layer.inputs, layer.outputs) == (4, 768, 320)
    assert recognise(Header(NAMINGS[naming], {})).width == 768


@pytest.mark.parametrize(
    "name",
    [
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_{}.weight",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.{}.weight",
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.{}.weight",
    ],
)
def test_layer_of_the_text_encoder_is_the_same_in_every_naming(name: str) -> None:
    (layer,) = read_layers(pair(name.format("down"), name.format("up"), 768, 768))
    assert (layer.part, layer.stem) == ("text_encoder", "encoder_layers_0_self_attn_q_proj")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bundle_emb.x.string_to_param.*": (2, 768)}, "holds 'bundle_emb.x.string_to_param"),
        ({"lora_unet_norm.w_norm": (320,)}, "holds 'lora_unet_norm.w_norm'"),
        ({"lora_unet_elsewhere.alpha": ()}, "holds 'lora_unet_elsewhere.alpha'"),
        ({"model.to_q.lora_A.weight": (4, 4), "model.to_q.lora_B.weight": (4, 4)}, "holds 'model.to_q.lora_A"),
        ({"lora_unet_other.lora_down.weight": (4, 320)}, "lora_unet_other has only one of its two matrices, 'down'"),
        (
            {"lora_unet_other.lora_down.weight": (4, 320), "lora_unet_other.lora_up.weight": (320, 8)},
            r"lora_unet_other, \[4, 320\] and \[320, 8\], do not go together",
        ),
    ],
)
def test_name_that_is_not_understood_is_said(more: dict[str, tuple[int, ...]], words: str) -> None:
    tensors = NAMINGS["kohya"] | {name: TensorShape("F16", shape) for name, shape in more.items()}
    assert is_lora(tensors)
    with pytest.raises(WeightsError, match=words):
        recognise(Header(tensors, {}))

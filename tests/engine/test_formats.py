"""The files for other tools, read by other people's readers and compared with what the folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.conftest import Prepare, go_on
from trainer.artifact import LORA_FILE
from trainer.bases import STARTER_FOLDER
from trainer.engine.export import single_file
from trainer.engine.export.adapters import write_adapters
from trainer.engine.export.kohya import write_kohya_lora
from trainer.engine.export.settled import settle_metadata
from trainer.engine.export.single_file import write_single_file


@pytest.mark.parametrize("base", ["tiny_v_model", STARTER_FOLDER], ids=["1.x layout", "2.x layout"])
def test_single_file_holds_the_whole_folder(base: str | Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = base if isinstance(base, Path) else request.getfixturevalue(base)
    write_single_file(folder, tmp_path / "model.safetensors")
    from_file = StableDiffusionPipeline.from_single_file(
        str(tmp_path / "model.safetensors"), config=str(folder), local_files_only=True
    )
    from_folder = StableDiffusionPipeline.from_pretrained(folder)
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(from_file, part).state_dict(), getattr(from_folder, part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name].half(), theirs[name].half()) for name in ours)


def test_names_are_those_of_stable_diffusion_checkpoints() -> None:
    """At the published model's sizes: as many tensors as its checkpoint has, and names that are known from it."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    unet_names = {single_file.original_unet_name(name, unet) for name in unet.state_dict()}
    vae_names = {single_file._vae_name(name, 4) for name in vae.state_dict()}
    assert (len(unet_names), len(vae_names)) == (686, 248)
    assert unet_names >= {
        "input_blocks.0.0.weight",
        "input_blocks.4.0.skip_connection.weight",
        "input_blocks.9.0.op.weight",
        "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight",
        "middle_block.0.in_layers.2.weight",
        "middle_block.1.proj_in.weight",
        "output_blocks.2.1.conv.weight",
        "output_blocks.8.2.conv.weight",
        "output_blocks.11.0.skip_connection.weight",
        "out.2.bias",
    }
    assert vae_names >= {
        "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.mid.attn_1.proj_out.weight",
        "decoder.up.3.upsample.conv.weight",
        "decoder.up.0.block.2.conv2.bias",
        "decoder.norm_out.weight",
        "quant_conv.weight",
    }


def test_names_are_those_of_the_xl_checkpoint() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    names = {single_file.original_unet_name(name, unet) for name in unet.state_dict()}
    assert len(names) == len(unet.state_dict()) == 1680
    assert names >= {
        "label_emb.0.0.weight",
        "input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight",
        "input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight",
        "middle_block.1.transformer_blocks.9.ff.net.2.weight",
        "output_blocks.2.2.conv.weight",
        "output_blocks.5.2.conv.weight",
        "output_blocks.8.0.skip_connection.weight",
    }


def test_lora_file_has_kohyas_names_and_alpha(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", rank=4, alpha=2, text_encoder_share=1.0, adapted_layers="all")
    go_on(run, cache)
    file = run.artifact / "red-mug.safetensors"
    tensors = load_file(file)
    query = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_q"
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    for layer in (query, text, "lora_unet_down_blocks_0_resnets_0_conv1"):
        assert tensors[f"{layer}.lora_down.weight"].shape[0] == 4
        assert tensors[f"{layer}.lora_up.weight"].shape[1] == 4
        assert tensors[f"{layer}.alpha"].item() == 2.0
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["ss_network_dim"] == "4"
        assert opened.metadata()["ss_network_alpha"] == "2.0"


def version_for_a1111(file: Path) -> str:
    """What AUTOMATIC1111 1.10 takes a LoRA for (extensions-builtin/Lora/network.py, detect_version)."""
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata() or {}
    if metadata.get("ss_base_model_version", "").startswith("sdxl_"):
        return "SDXL"
    if metadata.get("ss_v2") == "True":
        return "SD2"
    return "SD1" if metadata else "Unknown"


@pytest.mark.parametrize(
    ("pipeline", "width", "version"),
    [
        ("StableDiffusionPipeline", 768, "SD1"),
        ("StableDiffusionPipeline", 1024, "SD2"),
        ("StableDiffusionXLPipeline", 2048, "SDXL"),
    ],
)
def test_lora_file_says_which_model_it_is_for(
    pipeline: str, width: int, version: str, tiny_model: Path, tmp_path: Path
) -> None:
    base, made = tmp_path / "base", tmp_path / "made"
    (base / "unet").mkdir(parents=True)
    made.mkdir()
    (base / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    (base / "unet" / "config.json").write_text(json.dumps({"cross_attention_dim": width}))
    unet = UNet2DConditionModel.from_pretrained(tiny_model / "unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"]))
    write_adapters(made, "red-mug", {"unet": unet}, base)
    assert version_for_a1111(made / "red-mug.safetensors") == version


@pytest.mark.parametrize("targets", [["to_q", "to_k", "to_v", "conv1", "conv2", "proj_in"], ".*to_q"])
def test_layers_of_a_lora_are_named_in_one_order_or_by_a_regular_expression(
    targets: list[str] | str, tiny_model: Path, tmp_path: Path
) -> None:
    """peft keeps names in a set, whose order is another in every process."""
    unet = UNet2DConditionModel.from_pretrained(tiny_model / "unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    write_adapters(tmp_path, "red-mug", {"unet": unet}, tiny_model)
    with safe_open(tmp_path / LORA_FILE, "pt") as opened:
        told = json.loads(opened.metadata()["lora_adapter_metadata"])
    assert told["unet.target_modules"] == (targets if isinstance(targets, str) else sorted(targets))


def test_equal_content_has_equal_bytes_whatever_is_said_beside_it(tmp_path: Path) -> None:
    said = {name: f'é "{name}"\n\u2028' for name in "qwertyuiop"}
    tensors = {"one": torch.arange(6.0), "two.weight": torch.zeros(2, 3, dtype=torch.float16)}
    for number in range(2):
        save_file(tensors, tmp_path / f"{number}.safetensors", metadata=said)
        settle_metadata(tmp_path / f"{number}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
    assert torch.equal(load_file(tmp_path / "0.safetensors")["one"], tensors["one"])
    with safe_open(tmp_path / "0.safetensors", "pt") as opened:
        assert opened.metadata() == said


def test_lora_file_names_the_rank_and_alpha_of_most_layers_and_else_of_the_first(tmp_path: Path) -> None:
    def said(ranks: list[int], alphas: list[float]) -> tuple[str, str]:
        layers = {f"layer_{n}.lora_A.weight": torch.zeros(rank, 3) for n, rank in enumerate(ranks)}
        scales = {f"layer_{n}": alpha for n, alpha in enumerate(alphas)}
        file = tmp_path / "lora.safetensors"
        write_kohya_lora({"unet": layers}, {"unet": scales}, file, family="stable-diffusion", text_width=768)
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
        return metadata["ss_network_dim"], metadata["ss_network_alpha"]

    assert said([4, 8, 8], [1.0, 2.5, 2.5]) == ("8", "2.5")
    assert said([1, 16], [9.0, 0.5]) == ("1", "9.0")


def test_embedding_file_holds_one_tensor_that_any_tool_takes(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", vectors=3)
    go_on(run, cache)
    (rows,) = load_file(run.artifact / "red-mug.safetensors").values()
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    pipeline.load_textual_inversion(str(run.artifact / "red-mug.safetensors"), token="anything")
    ids = pipeline.tokenizer.convert_tokens_to_ids(["anything", "anything_1", "anything_2"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], rows)

"""A LoRA out of a full model: exact where the change is of low rank, honest about what it leaves out elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.engine.conftest import go_on
from trainer.artifact import BaseUsed, Origin, describe_brought_in, read_manifest, write_manifest
from trainer.bases import inspect_base
from trainer.concept import ConceptWords
from trainer.engine.context import RunContext
from trainer.engine.imports.extract import extract_adapters
from trainer.engine.imports.run import carry_out
from trainer.engine.run import verify_run
from trainer.errors import ConceptError
from trainer.imports.task import extraction_of, prepare_task
from trainer.machine.process import StopSignal
from trainer.recipe.choices import Kind, Method
from trainer.run_folder import RunFolder

CPU = torch.device("cpu")
CHANGED = [
    ("unet", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"),
    ("unet", "down_blocks.0.resnets.0.conv1"),
    ("unet", "conv_in"),
    ("text_encoder", "encoder.layers.0.self_attn.q_proj"),
]


def changed_model(base: Path, folder: Path, rank: int, *, more: float = 0.0) -> Path:
    """The base with changes of a known rank in a few layers, and noise of the size `more` in one bias."""
    torch.manual_seed(7)
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    for part, layer in CHANGED:
        weight = getattr(pipeline, part).get_submodule(layer).weight.data
        flat = weight.flatten(1)
        weight += 0.1 * (torch.randn(flat.shape[0], rank) @ torch.randn(rank, flat.shape[1])).reshape(weight.shape)
    pipeline.unet.conv_out.bias.data += more
    pipeline.save_pretrained(folder)
    return folder


def finished_model(base: Path, folder: Path, root: Path) -> RunFolder:
    """A run folder whose artifact is the model in `folder`."""
    run = RunFolder(root)
    shutil.copytree(folder, run.artifact)
    used = BaseUsed(name=str(base), revision=None, identity=inspect_base(base).identity)
    words = ConceptWords("red-mug", Method.dreambooth, "teapot")
    origin = Origin(how="file", name="x")
    write_manifest(run.artifact, describe_brought_in(words, Kind.object, run.artifact, used, origin, resolution_px=64))
    return run


def draw(pipeline: StableDiffusionPipeline) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    return pipeline(
        "a teapot", num_inference_steps=2, height=64, width=64, generator=generator, output_type="pt"
    ).images


@pytest.fixture
def half_base(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model rounded to fp16 values, as full-size bases usually are."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None, torch_dtype=torch.float16)
    pipeline.to(torch.float32)
    pipeline.save_pretrained(tmp_path / "base")
    shutil.rmtree(tmp_path / "base" / "tokenizer")
    shutil.copytree(tiny_model / "tokenizer", tmp_path / "base" / "tokenizer")
    return tmp_path / "base"


def test_change_of_low_rank_is_reproduced_in_plain_diffusers(half_base: Path, tmp_path: Path, cache: Path) -> None:
    model = changed_model(half_base, tmp_path / "tuned", rank=3)
    source = finished_model(half_base, model, tmp_path / "full")
    run = prepare_task(tmp_path / "lora", extraction_of(source.root, 4))
    carry_out(run, RunContext(run.events, StopSignal(), cache))
    verify_run(run, cache)
    tuned = draw(StableDiffusionPipeline.from_pretrained(model, safety_checker=None))
    for file in ("pytorch_lora_weights.safetensors", "red-mug.safetensors"):
        pipeline = StableDiffusionPipeline.from_pretrained(half_base, safety_checker=None)
        plain = draw(pipeline)
        pipeline.load_lora_weights(str(run.artifact), weight_name=file)
        assert torch.allclose(draw(pipeline), tuned, atol=1e-3)
        assert not torch.allclose(plain, tuned, atol=2e-2)
    manifest = read_manifest(run.artifact)
    assert manifest.origin is not None
    assert manifest.origin.note == "rank 4; 100.0 % of the change kept (Frobenius norm)"
    assert manifest.trained_words == "red-mug teapot"


def test_kept_share_is_the_ratio_of_frobenius_norms(half_base: Path, tmp_path: Path) -> None:
    model = changed_model(half_base, tmp_path / "tuned", rank=6, more=0.5)
    kept = extract_adapters(model, half_base, 2, CPU).kept
    tuned = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    plain = StableDiffusionPipeline.from_pretrained(half_base, safety_checker=None)
    whole, best = 0.0, 0.0
    for part, layer in CHANGED:
        change = getattr(tuned, part).get_submodule(layer).weight - getattr(plain, part).get_submodule(layer).weight
        values = torch.linalg.svdvals(change.detach().flatten(1))
        whole += float(values.square().sum())
        best += float(values[:2].square().sum())
    whole += 0.5**2 * 4  # the bias that no LoRA can hold
    assert kept == pytest.approx((best / whole) ** 0.5, abs=1e-3)
    assert 0.1 < kept < 0.99


def test_model_that_equals_its_base_has_nothing_to_extract(half_base: Path) -> None:
    with pytest.raises(ConceptError, match="nothing to extract"):
        extract_adapters(half_base, half_base, 4, CPU)


def test_trained_model_gives_a_lora_and_other_concepts_do_not(
    prepared: Callable[..., RunFolder], tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    full = prepared(tiny_model, "dreambooth", name="full", text_encoder_share=1.0)
    go_on(full, cache)
    run = prepare_task(tmp_path / "lora", extraction_of(full.root, 8))
    carry_out(run, RunContext(run.events, StopSignal(), cache))
    manifest = read_manifest(run.artifact)
    assert manifest.method is Method.dreambooth_lora
    assert manifest.origin is not None
    assert manifest.origin.words == "extracted from red-mug"
    with pytest.raises(ConceptError, match="not a full model"):
        extraction_of(run.root, 8)

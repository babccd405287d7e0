"""What each method trains, and what it leaves alone: whole runs on tiny real models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from tests.engine.conftest import Prepare, go_on, small_recipe
from tests.engine.plain_pipelines import plain_pipeline
from trainer.bases import inspect_base
from trainer.engine import loop
from trainer.engine.families import open_family
from trainer.engine.loop import Training
from trainer.engine.prior import class_pictures
from trainer.errors import TrainingError
from trainer.events import (
    Finished,
    Phase,
    PhaseChanged,
    Warned,
)


def test_textual_inversion_trains_its_rows_and_nothing_else(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", vectors=3)
    go_on(run, cache)
    learnt = load_file(run.artifact / "learned_embeds.safetensors")
    assert learnt.keys() == {"<red-mug>"}
    assert learnt["<red-mug>"].shape == (3, 32)
    optimizer = torch.load(run.checkpoints / "step-000006" / "optimizer.pt", weights_only=True)["optimizer"]
    assert [s["exp_avg"].shape for s in optimizer["state"].values()] == [(3, 32)]
    pipeline = plain_pipeline(run, tiny_model)
    base = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    table = pipeline.text_encoder.get_input_embeddings().weight
    assert torch.equal(table[:-3], base.text_encoder.get_input_embeddings().weight)
    assert torch.equal(table[-3:], learnt["<red-mug>"])
    assert pipeline.tokenizer.tokenize("a <red-mug> <red-mug>_2") == ["a</w>", "<red-mug>", "<red-mug>_2"]


def test_rows_start_from_the_class_word_and_move(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "textual-inversion", steps=1, vectors=2, learning_rate=1e-5, weight_decay=0.0)
    go_on(run, cache)
    base = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    (word,) = base.tokenizer("teapot", add_special_tokens=False).input_ids
    start = base.text_encoder.get_input_embeddings().weight[word]
    rows = load_file(run.artifact / "learned_embeds.safetensors")["<red-mug>"]
    assert torch.allclose(rows[0], start, atol=2e-5)
    assert not torch.equal(rows[0], start)
    assert not torch.allclose(rows[1], start, atol=2e-5)  # a twin would never part from the first row


def test_lora_keeps_its_alpha_and_adapts_the_text_encoder_if_asked(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    run = prepared(tiny_model, "dreambooth-lora", rank=4, alpha=2, text_encoder_share=1.0)
    go_on(run, cache)
    file = run.artifact / "pytorch_lora_weights.safetensors"
    names = load_file(file).keys()
    assert any(n.startswith("unet.") for n in names)
    text = [n for n in names if n.startswith("text_encoder.")]
    assert text
    assert all(n.startswith("text_encoder.text_model.") for n in text)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()["lora_adapter_metadata"]
    assert json.loads(metadata)["unet.lora_alpha"] == 2
    assert str(tiny_model) not in metadata
    told = {"r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern"}  # what peft of any version knows
    assert set(json.loads(metadata)) == {f"{part}.{key}" for part in ("unet", "text_encoder") for key in told}
    pipeline = plain_pipeline(run, tiny_model)
    assert {(c.r, c.lora_alpha) for m in (pipeline.unet, pipeline.text_encoder) for c in m.peft_config.values()} == {
        (4, 2)
    }


def test_lora_on_all_layers_is_read_back_by_diffusers(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", adapted_layers="all", text_encoder_share=1.0)
    go_on(run, cache)
    (adapter,) = plain_pipeline(run, tiny_model).unet.peft_config.values()
    assert {"conv1", "conv2", "to_q"} <= {name.rsplit(".", 1)[-1] for name in adapter.target_modules}


def test_full_model_learns_the_text_encoder_for_its_share_only(
    prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    def text_weights(share: float, steps: int) -> dict[str, torch.Tensor]:
        run = prepared(tiny_model, "dreambooth", f"s{share}-{steps}", text_encoder_share=share, steps=steps)
        go_on(run, cache)
        return load_file(run.artifact / "text_encoder" / "model.safetensors")

    frozen, half, short = text_weights(0.0, 6), text_weights(0.5, 6), text_weights(1.0, 3)
    base = load_file(tiny_model / "text_encoder" / "model.safetensors")
    assert all(torch.equal(frozen[n], base[n].half()) for n in base)
    assert any(not torch.equal(half[n], base[n].half()) for n in base)
    assert all(torch.equal(half[n], short[n]) for n in base)  # three steps of six are the same three steps


def test_class_pictures_are_generated_once_and_shared(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    options = {"prior_weight": 1.0, "class_images": 3}
    events = go_on(prepared(tiny_model, "dreambooth", "one", **options), cache)
    assert any(isinstance(e, PhaseChanged) and e.phase is Phase.class_images for e in events)
    made = sorted((cache / "class-images").rglob("*.png"))
    assert len(made) == 3
    times = [f.stat().st_mtime_ns for f in made]
    events = go_on(prepared(tiny_model, "dreambooth-lora", "two", **{**options, "class_images": 5}), cache)
    assert [f.stat().st_mtime_ns for f in made] == times
    assert len(list((cache / "class-images").rglob("*.png"))) == 5
    made[1].write_bytes(b"")  # as a power loss leaves it
    go_on(prepared(tiny_model, "dreambooth-lora", "three", **options), cache)
    changed = [file for file, then in zip(made, times, strict=True) if file.stat().st_mtime_ns != then]
    assert changed == [made[1]]
    assert made[1].stat().st_size > 0


def test_class_pictures_that_are_here_are_not_decoded_to_find_that_out(
    tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", prior_weight=1.0, class_images=2)
    family, traits = open_family(tiny_model, device=torch.device("cpu"), dtype=torch.float32), inspect_base(tiny_model)
    made = class_pictures(recipe, family, traits, cache, lambda _done, _total: None)
    monkeypatch.setattr("trainer.engine.prior.decode_photo", lambda file: pytest.fail(f"{file} was decoded"))
    monkeypatch.setattr("trainer.engine.prior.sample", lambda *_, **__: pytest.fail("one was drawn again"))
    assert class_pictures(recipe, family, traits, cache, lambda _done, _total: None) == made


def test_own_class_pictures_are_used(prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(2):
        Image.new("RGB", (80, 60), (90 * number, 40, 40)).save(tmp_path / "mine" / f"{number}.jpg")
    run = prepared(tiny_model, "dreambooth", prior_weight=1.0, class_images_dir=tmp_path / "mine")
    read = [e for e in go_on(run, cache) if isinstance(e, PhaseChanged) and e.phase is Phase.class_images]
    assert [(e.done, e.total) for e in read] == [(1, 2), (2, 2)]
    assert not (cache / "class-images").exists()


def test_folder_without_class_pictures_fails_in_words(
    prepared: Prepare, tiny_model: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(TrainingError, match="no usable class picture"):
        go_on(prepared(tiny_model, "dreambooth", prior_weight=1.0, class_images_dir=tmp_path / "none"), cache)


def test_word_that_the_base_knows_is_warned_of(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    def warnings(method: str, name: str) -> list[str]:
        run = prepared(tiny_model, method, f"{method}-{name}", steps=1)
        run.write_recipe(run.read_recipe().model_copy(update={"name": name}))
        return [event.text for event in go_on(run, cache) if isinstance(event, Warned)]

    assert warnings("dreambooth-lora", "object") == [
        "“object” is a word that the base knows; its old meaning will shine through."
    ]
    assert warnings("dreambooth-lora", "red-mug") == warnings("textual-inversion", "object") == []


def test_gradient_checkpointing_and_accumulation_train(prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, "dreambooth-lora", gradient_checkpointing=True, gradient_accumulation=3, steps=3)
    assert isinstance(go_on(run, cache)[-1], Finished)


def test_step_follows_the_clipped_mean_of_its_accumulated_passes(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients that the optimizer is given, beside those that PyTorch has of the written-out mean."""
    passes, given, wanted = 3, [], []
    seen: list[Training] = []
    forward, step = loop.forward, AcceleratedOptimizer.step

    def seen_forward(training: Training, *, step: int, number: int) -> torch.Tensor:
        seen.append(training)
        return forward(training, step=step, number=number)

    def looked_at(optimizer: AcceleratedOptimizer) -> None:
        training = seen[-1]
        given.append([p.grad.clone() for p in training.parameters])
        first = len(given) - 1
        numbers = range(first * passes, (first + 1) * passes)
        mean = torch.stack([forward(training, step=first, number=number) for number in numbers]).mean()
        wanted.append(torch.autograd.grad(mean, training.parameters))
        step(optimizer)

    monkeypatch.setattr(loop, "forward", seen_forward)
    monkeypatch.setattr(AcceleratedOptimizer, "step", looked_at)
    options = {"gradient_accumulation": passes, "max_grad_norm": 1e-3, "steps": 2}
    go_on(prepared(tiny_model, "textual-inversion", **options), cache)
    for got, plain in zip(given, wanted, strict=True):
        norm = torch.cat([gradient.flatten() for gradient in plain]).norm()
        assert norm > 1e-3
        for one, other in zip(got, plain, strict=True):
            torch.testing.assert_close(one, other * (1e-3 / norm), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    "method", ["textual-inversion", "dreambooth-lora", pytest.param("dreambooth", marks=pytest.mark.slow)]
)
def test_half_precision_keeps_fp32_masters(method: str, prepared: Prepare, tiny_model: Path, cache: Path) -> None:
    run = prepared(tiny_model, method, precision="bf16", steps=3)
    go_on(run, cache)
    weights = load_file(run.checkpoints / "step-000003" / "weights.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.float32}

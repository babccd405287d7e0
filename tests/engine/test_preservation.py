"""Prior preservation by the base's own prediction: without class pictures, and it does hold the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine.conftest import Prepare, go_on, small_recipe
from trainer.engine import loop
from trainer.engine.families import Family, open_family
from trainer.engine.methods.lora import Lora
from trainer.engine.preservation import BasePrediction
from trainer.engine.prior import class_prompt
from trainer.errors import RecipeError

PROMPT = class_prompt("teapot")
aten = torch.ops.aten
BY_PREDICTION = {"prior_weight": 1.0, "prior_source": "base-prediction"}


def opened(tiny_model: Path) -> Family:
    return open_family(tiny_model, device=torch.device("cpu"), dtype=torch.float32)


def test_it_is_the_untouched_bases_and_training_goes_on_after_it(tiny_model: Path) -> None:
    family = opened(tiny_model)
    noisy, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([100, 700])
    with torch.no_grad():
        before = family.predict(noisy, timesteps, family.encode_prompts([PROMPT, PROMPT]))
    method = Lora(small_recipe(tiny_model, "dreambooth-lora", text_encoder_share=1.0, **BY_PREDICTION), family)
    with torch.no_grad():
        for parameter in (p for group in method.groups() for p in group.parameters):
            parameter.add_(torch.randn_like(parameter))
    preserved = BasePrediction(family, method.untrained).of(noisy, timesteps, [PROMPT, PROMPT])
    assert torch.allclose(preserved, before, atol=1e-6)
    learning = family.predict(noisy, timesteps, family.encode_prompts([PROMPT, PROMPT]))
    assert not torch.allclose(learning, before, atol=1e-3)
    learning.sum().backward()
    assert all(p.grad is not None for group in method.groups() for p in group.parameters)


def test_what_is_trained_stays_trainable_while_the_base_is_asked(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth-lora", text_encoder_share=1.0, **BY_PREDICTION)
    method = Lora(recipe, opened(tiny_model))
    trained = [p for group in method.groups() for p in group.parameters]
    with method.untrained():
        assert all(p.requires_grad for p in trained)


def test_it_takes_the_place_of_the_class_examples_alone(tiny_model: Path) -> None:
    family = opened(tiny_model)
    method = Lora(small_recipe(tiny_model, "dreambooth-lora", **BY_PREDICTION), family)
    base = BasePrediction(family, method.untrained)
    noisy, timesteps = torch.randn(3, 4, 8, 8), torch.tensor([5, 300, 900])
    target = torch.randn(3, 4, 8, 8)
    filled = base.put_into(target, noisy, timesteps, ["mine", PROMPT, PROMPT], 1)
    assert torch.equal(filled[0], target[0])
    assert torch.equal(filled[1:], base.of(noisy[1:], timesteps[1:], [PROMPT, PROMPT]))


class _Waits(TorchDispatchMode):
    """Notes what would make the processor wait for a GPU: a number read from it, a mask whose size nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            part is not None and part.dtype is torch.bool for part in args[1]
        )
        if masked or func.overloadpacket in (aten._local_scalar_dense, aten.nonzero):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_forward_pass_waits_for_nothing_that_it_computes(
    prepared: Prepare, tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, watched = loop.forward, _Waits()

    def forward(training: loop.Training, *, step: int, number: int) -> torch.Tensor:
        with watched:
            return real(training, step=step, number=number)

    monkeypatch.setattr(loop, "forward", forward)
    options = {"steps": 2, "text_encoder_share": 0.5, "caption_dropout": 0.5, "min_snr_gamma": 5.0, **BY_PREDICTION}
    go_on(prepared(tiny_model, "dreambooth-lora", **options), cache)
    assert watched.seen == []


@pytest.mark.parametrize("share", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_class_drifts_less_with_it_and_no_picture_is_generated(
    prepared: Prepare, tiny_model: Path, cache: Path, share: float
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model)
    noisy = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([50, 300, 600, 900])

    @torch.no_grad()
    def predicted() -> torch.Tensor:
        states = pipeline.encode_prompt([PROMPT] * 4, torch.device("cpu"), 1, do_classifier_free_guidance=False)[0]
        return pipeline.unet(noisy, timesteps, states).sample

    def drift(name: str, **options: object) -> float:
        options |= {"steps": 20, "learning_rate": 3e-3, "preview_every_steps": 0, "text_encoder_share": share}
        run = prepared(tiny_model, "dreambooth-lora", name, **options)
        go_on(run, cache)
        pipeline.load_lora_weights(run.artifact, weight_name="pytorch_lora_weights.safetensors")
        moved = (predicted() - before).norm().item()
        pipeline.unload_lora_weights()
        return moved

    before = predicted()
    assert drift("held", **BY_PREDICTION) < 0.7 * drift("free")
    assert not (cache / "class-images").exists()


def test_class_pictures_beside_it_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="base-prediction"):
        small_recipe(tiny_model, "dreambooth-lora", class_images_dir=tmp_path, **BY_PREDICTION)

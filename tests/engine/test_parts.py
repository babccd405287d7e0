"""Noise, batches, checkpoints, averages, attention: the parts of the loop, each by itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from PIL import Image, ImageChops, ImageOps

from tests.engine.conftest import small_recipe
from tests.waiting import PATIENCE_S
from trainer.artifact import sha256_of
from trainer.engine.attention import PLAIN, SDPA, choose_attention, head_sizes, probe_xformers
from trainer.engine.averaging import Average
from trainer.engine.batches import Batches, PlainPictures, PriorPictures, prompts_of, prompts_of_photos
from trainer.engine.cache import EncodedPictures, variant
from trainer.engine.checkpoint import Checkpoint, Checkpoints, OptimizerState
from trainer.engine.device import Compute, choose_precision
from trainer.engine.families import open_family
from trainer.engine.methods import ParameterGroup, prepare_method
from trainer.engine.noise import KeyedNoise
from trainer.engine.text import fit_captions
from trainer.errors import RecipeError
from trainer.events import CheckpointWritten, Event, Warned
from trainer.machine.devices import APPLE_GPU
from trainer.photos.checkup import Verdict
from trainer.photos.colours import COLOURS
from trainer.photos.crop import Crop
from trainer.photos.intake import Photo, PhotoSet, take_folder
from trainer.recipe.choices import Precision
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder

CPU = torch.device("cpu")


def prompts(count: int, recipe: TrainConfig) -> list[list[str]]:
    return [prompts_of(photo.caption, recipe) for photo in photos(count).usable]


def encoded(pictures: int, variants: int = 2, offset: float = 0.0) -> EncodedPictures:
    mean = torch.arange(pictures * variants, dtype=torch.float32).view(pictures, variants, 1, 1, 1) + offset
    return EncodedPictures(mean, torch.zeros_like(mean), torch.ones_like(mean))


def photos(count: int, caption: str | None = None) -> PhotoSet:
    return PhotoSet(
        tuple(Photo(f"{i}", Verdict.ok, file=f"{i}.jpg", crop=Crop(0, 0, 1), caption=caption) for i in range(count))
    )


def test_noise_depends_on_its_key_alone() -> None:
    one, other = KeyedNoise(1, CPU), KeyedNoise(1, CPU)
    one.normal(3, "noise", (7,))
    assert torch.equal(one.normal(4, "noise", (5,)), other.normal(4, "noise", (5,)))
    assert not torch.equal(one.normal(4, "noise", (5,)), one.normal(5, "noise", (5,)))
    assert not torch.equal(one.normal(4, "noise", (5,)), one.normal(4, "latent", (5,)))
    assert not torch.equal(one.normal(4, "noise", (5,)), KeyedNoise(2, CPU).normal(4, "noise", (5,)))


def test_noise_goes_to_a_gpu_out_of_pinned_memory_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []
    sent: list[tuple[torch.Tensor, torch.device, dict[str, bool]]] = []

    def pin_memory(values: torch.Tensor) -> torch.Tensor:
        pinned.append(values)
        return values

    def to(values: torch.Tensor, device: torch.device, **how: bool) -> torch.Tensor:
        sent.append((values, device, how))
        return values

    gpu = torch.device("cuda")
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "pin_memory", pin_memory)
        patched.setattr(torch.Tensor, "to", to)
        drawn = KeyedNoise(1, gpu).normal(3, "noise", (7,)), KeyedNoise(1, gpu).integers(3, "timestep", 1000, (7,))
    assert [(id(values), device, how) for values, device, how in sent] == [
        (id(values), gpu, {"non_blocking": True}) for values in pinned
    ]
    assert torch.equal(drawn[0], KeyedNoise(1, CPU).normal(3, "noise", (7,)))
    assert torch.equal(drawn[1], KeyedNoise(1, CPU).integers(3, "timestep", 1000, (7,)))


def test_every_photo_is_seen_once_an_epoch_and_windows_run_over_epochs(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth-lora", batch_size=2)
    batches = Batches(
        recipe,
        prompts(5, recipe),
        encoded(5, variants=1),
        None,
        KeyedNoise(0, CPU),
    )
    seen = [int(v) for number in range(10) for v in batches.at(number).mean.flatten()]
    assert len(seen) == 20
    for epoch in range(4):
        assert sorted(seen[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert seen[:5] != seen[5:10] or seen[5:10] != seen[10:15]


def test_batch_is_a_pure_function_of_its_number(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "textual-inversion", caption_dropout=0.5)
    forwards, single = (Batches(recipe, prompts(4, recipe), encoded(4), None, KeyedNoise(0, CPU)) for _ in range(2))
    for number in range(5):
        forwards.at(number)
    assert torch.equal(forwards.at(7).mean, single.at(7).mean)
    assert forwards.at(7).prompts == single.at(7).prompts


def test_concept_is_read_however_long_a_caption_is(tiny_model: Path) -> None:
    family = open_family(tiny_model, device=CPU, dtype=torch.float32)
    family.tokenizers["text_encoder"].add_tokens(["<red-mug>"])
    early, late = "<red-mug> on a table", "a table and a chair " * 40 + "with <red-mug>"
    warnings: list[str] = []
    fitted = fit_captions([[early], [late]], "<red-mug>", family.tokenizers["text_encoder"], warnings.append)
    assert fitted == [[early], [f"<red-mug>, {late}"]]
    assert len(warnings) == 1
    assert "longer than the base can read" in warnings[0]
    assert fit_captions([[early]], "<red-mug>", family.tokenizers["text_encoder"], warnings.append) == [[early]]
    assert len(warnings) == 1


def test_class_pictures_come_with_their_own_prompt_in_the_same_pass(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", batch_size=3, prior_weight=1.0)
    prior = PriorPictures(encoded(10, 1, offset=1000), "a photo of a teapot")
    batch = Batches(recipe, prompts(4, recipe), encoded(4), prior, KeyedNoise(0, CPU)).at(0)
    assert batch.own == 3
    assert (batch.mean.flatten() >= 1000).tolist() == [False] * 3 + [True] * 3
    assert [p == prior.prompt for p in batch.prompts] == [False] * 3 + [True] * 3


def test_subjects_on_plain_colours_stand_in_for_their_share_of_the_photos(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth-lora", batch_size=4, plain_background_share=0.5)
    plain = PlainPictures(encoded(10, 1, offset=1000), [[f"on colour {number}"] for number in range(10)])

    def batches() -> Batches:
        return Batches(recipe, prompts(4, recipe), encoded(4), None, KeyedNoise(0, CPU), plain)

    seen = [batches().at(number) for number in range(50)]
    shown = [each for batch in seen for each in zip(batch.mean.flatten().tolist(), batch.prompts, strict=True)]
    assert 0.4 < sum(value >= 1000 for value, _ in shown) / len(shown) < 0.6
    assert all((prompt == f"on colour {value - 1000:.0f}") == (value >= 1000) for value, prompt in shown)
    assert {f"on colour {number}" for number in range(10)} <= {p for batch in seen for p in batch.prompts}
    forwards = batches()
    assert [forwards.at(number).prompts for number in range(50)] == [batch.prompts for batch in seen]


def test_captions_replace_templates(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth-lora")
    assert prompts_of("red-mug on a table", recipe) == ["red-mug teapot on a table"]
    assert all("red-mug teapot" in p for p in prompts_of(None, recipe))


def test_prompts_name_the_background_where_the_recipe_asks(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    for number, colour in enumerate(("red", "orange", "blue")):
        picture = Image.linear_gradient("L").convert("RGB").resize((300, 300))
        framed = ImageOps.expand(picture, 60, COLOURS[colour])
        framed.save(tmp_path / "from" / f"{number}.png")
    (tmp_path / "from" / "2.txt").write_text("red-mug in the sea")
    folder = tmp_path / "photos"
    photos = take_folder(tmp_path / "from", folder)

    recipe = small_recipe(tiny_model, "dreambooth-lora", name_background=True)
    red, orange, own = prompts_of_photos(folder, photos, recipe)
    assert red[0] == "a photo of red-mug teapot on a red background"
    assert {prompt.partition(" on ")[2] for prompt in orange} == {"an orange background"}
    assert own == ["red-mug teapot in the sea"]
    recipe = small_recipe(tiny_model, "dreambooth-lora", name_background=False)
    assert not any("background" in prompt for prompt in prompts_of_photos(folder, photos, recipe)[0])


def test_first_variant_is_the_exact_crop_and_mirroring_can_be_forbidden(tiny_model: Path) -> None:
    square = Image.linear_gradient("L").rotate(90).convert("RGB").resize((128, 128))
    plain = small_recipe(tiny_model, "dreambooth", mirror=False)
    assert (
        ImageChops.difference(variant(square, plain, index=0, number=0), square.resize((64, 64), 1)).getbbox() is None
    )
    upright = variant(square, plain, index=0, number=1)
    mirroring = small_recipe(tiny_model, "dreambooth", mirror=True, variants_per_photo=2)
    mirrored = variant(square, mirroring, index=0, number=1)
    assert ImageChops.difference(ImageOps.mirror(mirrored), upright).getbbox() is None


def state(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((2,), float(step))}, OptimizerState({"a": 1}, None), {}, 1.0)


def test_newest_whole_checkpoint_wins_and_old_ones_go(tmp_path: Path) -> None:
    events: list[Event] = []
    checkpoints = Checkpoints(RunFolder(tmp_path), events.append, keep=2)
    for step in (1, 2, 3):
        checkpoints.write(state(step))
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == ["step-000002", "step-000003"]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 3
    assert torch.equal(newest.weights["w"], torch.tensor([3.0, 3.0]))
    assert [e.step for e in events if isinstance(e, CheckpointWritten)] == [1, 2, 3]


@pytest.mark.fault(20)
@pytest.mark.parametrize("damage", ["truncate", "garbage", "missing", "no-meta"])
def test_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, damage: str) -> None:
    events: list[Event] = []
    checkpoints = Checkpoints(RunFolder(tmp_path), events.append, keep=3)
    checkpoints.write(state(1))
    checkpoints.write(state(2))
    weights = tmp_path / "checkpoints" / "step-000002" / "weights.safetensors"
    match damage:
        case "truncate":
            weights.write_bytes(weights.read_bytes()[:-4])
        case "garbage":
            weights.write_bytes(b"x" * weights.stat().st_size)
        case "missing":
            weights.unlink()
        case _:
            (weights.parent / "checkpoint.json").write_text("{")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 1
    assert any(isinstance(e, Warned) and "step-000002 is damaged" in e.text for e in events)


@pytest.mark.fault(20)
def test_damaged_checkpoint_takes_no_good_ones_place(tmp_path: Path) -> None:
    checkpoints = Checkpoints(RunFolder(tmp_path), lambda _: None, keep=1)
    checkpoints.write(state(8))
    (tmp_path / "checkpoints" / "step-000008" / "weights.safetensors").write_bytes(b"x")
    assert checkpoints.newest() is None
    checkpoints.write(state(4))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 4
    assert [f.name for f in (tmp_path / "checkpoints").iterdir()] == ["step-000004"]


@pytest.mark.fault(3)
def test_half_written_checkpoint_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".step-000009.abc").mkdir(parents=True)
    assert Checkpoints(RunFolder(tmp_path), lambda _: None, keep=1).newest() is None


def test_checkpoint_names_every_file_with_its_hash(tmp_path: Path) -> None:
    Checkpoints(RunFolder(tmp_path), lambda _: None, keep=1).write(state(4))
    meta = json.loads((tmp_path / "checkpoints" / "step-000004" / "checkpoint.json").read_text())
    assert meta["sha256"].keys() == {"weights.safetensors", "optimizer.pt"}


def test_files_of_a_checkpoint_are_hashed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def hashed(file: Path) -> str:
        both.wait()
        return sha256_of(file)

    checkpoints = Checkpoints(RunFolder(tmp_path), lambda _: None, keep=1)
    with monkeypatch.context() as patched:
        patched.setattr("trainer.engine.checkpoint.sha256_of", hashed)
        checkpoints.write(state(4))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 4


def test_average_is_in_place_only_inside_the_block() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = Average([ParameterGroup([weight], 0.1, 5)], 0.5)
    average.update()
    with torch.no_grad():
        weight.fill_(4.0)
    average.update()
    with average.in_place():
        assert 0 < weight[0].item() < 4
    assert weight[0].item() == 4
    kept = average.tensors(lambda: {"weight": weight})
    assert 0 < kept["weight"][0].item() < 4
    assert weight[0].item() == 4
    assert Average([], None).tensors(dict) == {}


def test_average_is_that_of_diffusers() -> None:
    drawn = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in ((3, 2), (5,))]
    groups = [ParameterGroup([weight], 0.1, 5) for weight in weights]
    ours, theirs = Average(groups, 0.6), EMAModel(weights, decay=0.6)  # which both reach at their 14th update
    for _ in range(20):
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn(weight.shape, generator=drawn))
        ours.update()
        theirs.step(weights)
        averages = ours.tensors(lambda: {str(number): weight.detach() for number, weight in enumerate(weights)})
        for average, expected in zip(averages.values(), theirs.shadow_params, strict=True):
            assert torch.allclose(average, expected, atol=1e-6)


def test_average_and_weights_change_places_without_a_copy() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = Average([ParameterGroup([weight], 0.1, 5)], 0.5)
    (kept,) = average.tensors(lambda: {"weight": weight.detach()}).values()
    own = weight.data_ptr()
    for _ in range(2):
        with average.in_place():
            assert weight.data_ptr() == kept.data_ptr() != own
        assert weight.data_ptr() == own


def test_average_goes_on_from_what_is_loaded_while_it_is_in_place() -> None:
    def averaged(weight: torch.nn.Parameter, average: Average, values: tuple[float, ...]) -> torch.Tensor:
        for value in values:
            with torch.no_grad():
                weight.fill_(value)
            average.update()
        return average.tensors(lambda: {"weight": weight.detach()})["weight"].clone()

    one, other = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    whole, resumed = (Average([ParameterGroup([weight], 0.1, 5)], 0.9) for weight in (one, other))
    stored = averaged(one, whole, (1.0, 5.0, 2.0))
    with resumed.in_place(), torch.no_grad():
        other.copy_(stored)
    resumed.restart(3)
    assert torch.equal(averaged(other, resumed, (7.0, 3.0)), averaged(one, whole, (7.0, 3.0)))


def test_cpu_attends_by_what_is_fastest_for_its_size_and_says_so(tiny_model: Path) -> None:
    family = open_family(tiny_model, device=CPU, dtype=torch.float32)
    assert choose_attention(family.unet, torch.float32).name == PLAIN
    family.unet.register_to_config(sample_size=64)
    assert choose_attention(family.unet, torch.float32).name == SDPA
    assert head_sizes(family.unet) == {16}


def test_xformers_is_not_claimed_where_it_does_not_run() -> None:
    assert probe_xformers(CPU, torch.float32, {16}) is None


def test_masters_of_a_full_model_start_from_what_the_base_holds_and_not_from_its_rounded_copy(tiny_model: Path) -> None:
    recipe = small_recipe(tiny_model, "dreambooth", text_encoder_share=1.0)
    exact = open_family(tiny_model, device=torch.device("cpu"), dtype=torch.float32)
    rounded = open_family(tiny_model, device=torch.device("cpu"), dtype=torch.bfloat16)
    method = prepare_method(recipe, rounded)
    parts: dict[str, torch.nn.Module] = {"unet": exact.unet, **exact.text_encoders}
    ours = {part: dict(module.named_parameters()) for part, module in parts.items()}
    for name, master in method.tensors().items():
        part, _, parameter = name.partition(".")
        assert torch.equal(master, ours[part][parameter]), name


def test_base_that_is_opened_is_not_read_a_second_time_to_name_its_weights(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.bases._identity", lambda _: pytest.fail("its weights were hashed"))
    assert open_family(tiny_model, device=CPU, dtype=torch.float32).folder == tiny_model


def test_precision_is_resolved_and_fp16_refused_on_a_cpu() -> None:
    assert choose_precision(Precision.auto, "cpu") in (Precision.bf16, Precision.fp32)
    assert choose_precision(Precision.fp32, "cpu") is Precision.fp32
    with pytest.raises(RecipeError, match="precision: fp16 does not train on a CPU"):
        choose_precision(Precision.fp16, "cpu")


@pytest.mark.parametrize(("kind", "name"), [("mps", APPLE_GPU), ("cpu", "1 CPU core")])
def test_device_is_called_what_the_page_calls_it(kind: str, name: str) -> None:
    accelerator: Any = SimpleNamespace(device=torch.device(kind))
    assert Compute(accelerator, Precision.fp32).name == name


@pytest.mark.parametrize("which", ["tiny_model", "tiny_v_model"])
def test_noising_and_target_agree_with_diffusers_in_fp32(which: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(which)
    family = open_family(folder, device=CPU, dtype=torch.float32)
    reference = DDPMScheduler.from_pretrained(folder / "scheduler")
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    timesteps = torch.tensor([0, 500, 999])
    noisy, target = family.noisy_and_target(latents, noise, timesteps)
    assert torch.allclose(noisy, reference.add_noise(latents, noise, timesteps), atol=1e-6)
    expected = noise if which == "tiny_model" else reference.get_velocity(latents, noise, timesteps)
    assert torch.allclose(target, expected, atol=1e-6)


def test_noising_stays_exact_for_half_precision_models(tiny_v_model: Path) -> None:
    family = open_family(tiny_v_model, device=CPU, dtype=torch.bfloat16)
    noisy, _ = family.noisy_and_target(torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 2.0), torch.tensor([0]))
    assert noisy.dtype is torch.float32
    assert noisy[0, 0, 0, 0].item() > 1.01  # sigma of the first step is not rounded away

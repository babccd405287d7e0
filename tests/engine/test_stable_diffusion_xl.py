"""The family with two text encoders: what it is told, what it learns, and what other tools open of it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from inference.catalog import use_together
from inference.engine import Engine
from inference.prompting import encode
from inference.request import PictureRequest
from tests.engine.conftest import METHODS, go_on, small_recipe
from tests.prepared_photos import take_prepared
from tests.tiny_models import build_tiny_xl_model
from trainer.artifact import read_manifest
from trainer.bases import find_base, inspect_base, read_json
from trainer.engine.base.single_file import converted_base
from trainer.engine.context import RunContext
from trainer.engine.export.embeddings import load_embedding
from trainer.engine.export.single_file import write_single_file
from trainer.engine.export.verify import open_artifact
from trainer.engine.families import Family, open_family
from trainer.engine.imports.contents import Embedding, read_adapters
from trainer.engine.imports.run import carry_out
from trainer.engine.methods import prepare_method
from trainer.engine.methods.lora import Lora
from trainer.engine.preservation import BasePrediction
from trainer.engine.run import verify_run
from trainer.engine.sampling import Prompts, SamplerSettings, sample
from trainer.engine.text import TextStates
from trainer.imports.recognise import recognise_file
from trainer.imports.task import build_task, extraction_of, prepare_task, source_values
from trainer.machine.process import StopSignal
from trainer.prepare import prepare_run
from trainer.recipe.choices import Kind, Method
from trainer.recipe.presets import preset_recipe
from trainer.run_folder import RunFolder


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_xl_model(tmp_path_factory.mktemp("xl") / "model")


def opened(folder: Path) -> Family:
    return open_family(folder, device=torch.device("cpu"), dtype=torch.float32)


class Runs(dict[str, RunFolder]):
    """method -> finished run, trained when it is first asked for; nobody changes its files."""

    def __init__(self, root: Path, base: Path, photos: Path) -> None:
        super().__init__()
        self._root, self._base, self._photos = root, base, photos

    def __missing__(self, method: str) -> RunFolder:
        text = {} if method == "textual-inversion" else {"text_encoder_share": 1.0}
        recipe = small_recipe(self._base, method, learning_rate=0.01, **text)
        run, _ = prepare_run(self._root / method, recipe, partial(take_prepared, self._photos))
        go_on(run, self._root / "cache")
        self[method] = run
        return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, xl: Path, photo_folder: Path) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), xl, photo_folder)


@pytest.fixture
def trained(runs: Runs, request: pytest.FixtureRequest) -> RunFolder:
    """A finished run of the method that the test names."""
    return runs[request.param]


def test_traits_and_presets_are_those_of_the_family(xl: Path) -> None:
    traits = inspect_base(xl)
    assert (traits.family, traits.text_width) == ("stable-diffusion-xl", 96)
    for method in Method:
        recipe = preset_recipe(method, Kind.person, traits, name="mug", base=str(xl))
        assert recipe.gradient_checkpointing
        assert getattr(recipe, "text_encoder_share", 0) == 0


@pytest.mark.parametrize("negative", ["", "a blue dog"])
def test_pictures_are_those_of_the_stock_pipeline(xl: Path, negative: str) -> None:
    family = opened(xl)
    unwanted = family.encode_prompts([negative]) if negative else family.unconditional()
    prompts = Prompts(family.encode_prompts(["a photo of a teapot"]), unwanted)
    (ours,) = sample(
        family, prompts, seeds=[3], size=(64, 64), sampler=SamplerSettings(steps=4, guidance=5.0, scheduler="DDIM")
    )
    pipeline = StableDiffusionXLPipeline.from_pretrained(xl, add_watermarker=False)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    noise = torch.randn((4, 16, 16), generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "a photo of a teapot",
        negative_prompt=negative or None,
        latents=noise[None],
        num_inference_steps=4,
        guidance_scale=5.0,
        height=64,
        width=64,
    ).images[0]
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1


@pytest.mark.parametrize("trained", METHODS, indirect=True)
def test_result_opens_in_stock_diffusers_and_in_the_layouts_of_other_tools(trained: RunFolder, xl: Path) -> None:
    manifest = read_manifest(trained.artifact)
    names = {
        Method.textual_inversion: ({"clip_l", "clip_g"}, ()),
        Method.dreambooth_lora: (set(), ("lora_unet_", "lora_te1_text_model_", "lora_te2_text_model_")),
        Method.dreambooth: (
            {"conditioner.embedders.1.model.text_projection", "model.diffusion_model.label_emb.0.0.weight"},
            ("conditioner.embedders.0.transformer.text_model.", "first_stage_model.decoder."),
        ),
    }[manifest.method]
    stored = load_file(trained.artifact / "red-mug.safetensors").keys()
    assert names[0] <= stored
    assert all(any(name.startswith(beginning) for name in stored) for beginning in names[1])
    for portable in (False, True):
        assert isinstance(open_artifact(trained.artifact, manifest, xl, portable=portable), StableDiffusionXLPipeline)


@pytest.mark.parametrize("trained", ["textual-inversion"], indirect=True)
def test_textual_inversion_moves_the_rows_of_both_text_encoders(trained: RunFolder, xl: Path) -> None:
    base = opened(xl)
    word = base.tokenizers["text_encoder"]("teapot", add_special_tokens=False).input_ids[0]
    rows = load_file(trained.artifact / "learned_embeds.safetensors")
    for name, part in (("clip_l", "text_encoder"), ("clip_g", "text_encoder_2")):
        start = base.text_encoders[part].get_input_embeddings().weight[word]
        assert rows[name].shape == (4, len(start))
        assert not torch.allclose(rows[name][0], start, atol=1e-4)


@pytest.mark.parametrize("trained", ["textual-inversion", "dreambooth-lora"], indirect=True)
def test_pictures_with_the_concept_differ_and_leave_no_trace(trained: RunFolder, xl: Path, tmp_path: Path) -> None:
    engine = Engine(tmp_path / "cache")
    plain = PictureRequest(prompt="a (teapot)1.3 on a red background", base=str(xl), width=64, height=64, steps=2)
    uses = use_together([(trained.root, 1.0)])
    named = plain.model_copy(update={"prompt": "a photo of <red-mug> " + "red " * 90, "concepts": uses})
    before, with_concept, without, after = (
        engine.generate(request).pictures[0].tobytes()
        for request in (plain, named, named.model_copy(update={"concepts": ()}), plain)
    )
    assert before == after
    assert with_concept != without


@pytest.mark.parametrize("trained", ["dreambooth"], indirect=True)
def test_whole_model_in_one_file_is_a_base_again(trained: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "red-mug.safetensors"
    shutil.copy(trained.artifact / "red-mug.safetensors", file)
    (tmp_path / "red-mug").symlink_to(trained.artifact)
    folder = converted_base(find_base(str(file)), tmp_path / "cache")
    assert inspect_base(folder).family == "stable-diffusion-xl"
    for part in ("unet", "text_encoder", "text_encoder_2"):
        (ours,), (theirs,) = ([*(place / part).glob("*.safetensors")] for place in (trained.artifact, folder))
        wanted, found = load_file(ours), load_file(theirs)
        assert all(torch.equal(wanted[name].half(), found[name].half()) for name in wanted)


@pytest.mark.parametrize("trained", ["dreambooth-lora"], indirect=True)
def test_lora_in_kohyas_naming_is_taken_in_with_the_originals_block_names_too(
    trained: RunFolder, xl: Path, tmp_path: Path
) -> None:
    file = trained.artifact / "red-mug.safetensors"
    tensors = load_file(file)
    original = tmp_path / "original.safetensors"
    blocks = {"down_blocks_1_attentions_0": "input_blocks_3_1", "mid_block_attentions_0": "middle_block_1"}
    blocks |= {f"up_blocks_0_attentions_{n}": f"output_blocks_{n}_1" for n in range(2)}
    for ours, theirs in blocks.items():
        tensors = {name.replace(ours, theirs): tensor for name, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, original)
    for source in (file, original):
        content = read_adapters("red-mug", source, recognise_file(source), xl)
        assert content.is_loaded_in(open_artifact(trained.artifact, read_manifest(trained.artifact), xl))


@pytest.mark.parametrize("trained", ["textual-inversion"], indirect=True)
def test_embedding_for_both_text_encoders_is_taken_in(trained: RunFolder, xl: Path) -> None:
    file = trained.artifact / "red-mug.safetensors"
    recognised = recognise_file(file)
    assert (recognised.width, recognised.vectors) == (96, 4)
    manifest = read_manifest(trained.artifact)
    content = Embedding(manifest.words, file, recognised)
    assert content.is_loaded_in(open_artifact(trained.artifact, manifest, xl))


@pytest.mark.slow  # quick: test_extract.py
@pytest.mark.parametrize("trained", ["dreambooth"], indirect=True)
def test_lora_out_of_a_whole_model_holds_changes_of_all_three_parts(
    trained: RunFolder, xl: Path, tmp_path: Path, cache: Path
) -> None:
    run = prepare_task(tmp_path / "lora", extraction_of(trained.root, 128))
    carry_out(run, RunContext(run.events, StopSignal(), cache))
    verify_run(run, cache)
    lora = StableDiffusionXLPipeline.from_pretrained(xl, add_watermarker=False)
    lora.load_lora_weights(run.artifact, weight_name="pytorch_lora_weights.safetensors")
    lora.fuse_lora()
    lora.unload_lora_weights()
    whole = StableDiffusionXLPipeline.from_pretrained(trained.artifact, add_watermarker=False)
    layers = {
        "unet": "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
        "text_encoder": "encoder.layers.0.self_attn.q_proj",
        "text_encoder_2": "text_model.encoder.layers.0.self_attn.q_proj",
    }
    for part, layer in layers.items():
        base = weight_of(StableDiffusionXLPipeline.from_pretrained(xl, add_watermarker=False), part, layer)
        change = weight_of(whole, part, layer) - base
        kept = weight_of(lora, part, layer) - base
        assert (kept - change).norm() < 0.02 * change.norm()


def weight_of(pipeline: StableDiffusionXLPipeline, part: str, layer: str) -> torch.Tensor:
    return getattr(pipeline, part).get_submodule(layer).weight.detach().float()


def test_bases_own_prediction_is_that_of_both_untouched_text_encoders(xl: Path) -> None:
    family = opened(xl)
    noisy, timesteps, prompts = torch.randn(2, 4, 8, 8), torch.tensor([100, 700]), ["a teapot", "a teapot"]
    with torch.no_grad():
        before = family.predict(noisy, timesteps, family.encode_prompts(prompts))
    options = {"text_encoder_share": 1.0, "prior_weight": 1.0, "prior_source": "base-prediction"}
    method = Lora(small_recipe(xl, "dreambooth-lora", **options), family)
    with torch.no_grad():
        for parameter in (p for group in method.groups() for p in group.parameters):
            parameter.add_(torch.randn_like(parameter))
    preserved = BasePrediction(family, method.untrained).of(noisy, timesteps, prompts)
    assert torch.allclose(preserved, before, atol=1e-5)


@pytest.mark.parametrize("trained", ["textual-inversion"], indirect=True)
def test_words_after_a_concept_reach_the_pooled_text(trained: RunFolder, xl: Path) -> None:
    family, manifest = opened(xl), read_manifest(trained.artifact)
    load_embedding(family.pipeline(), trained.artifact / "learned_embeds.safetensors", manifest.placeholder)
    words = manifest.words.trained_words
    red, blue = (family.encode_prompts([f"a {words} on a {colour} background"]).pooled for colour in ("red", "blue"))
    assert red is not None
    assert blue is not None
    assert not torch.allclose(red, blue, atol=1e-3)
    stock = open_artifact(trained.artifact, manifest, xl)
    theirs = stock.encode_prompt(f"a {manifest.words_in_diffusers} on a red background", device=torch.device("cpu"))[2]
    assert torch.allclose(theirs, red, atol=1e-5)


def test_dropped_caption_is_what_sampling_tells_of_nothing(xl: Path) -> None:
    family = opened(xl)
    states, prompts = TextStates(family), ["", "a red dog", ""]
    for told in (states.frozen(prompts), states.learning(prompts)):
        assert told.pooled is not None
        assert [bool(told.states[i].any()) for i in range(3)] == [False, True, False]
        assert torch.allclose(told[1:2].states, family.encode_prompts(prompts[1:2]).states, atol=1e-5)
        assert not told.pooled[[0, 2]].any()


def test_what_is_told_of_nothing_is_looked_up_once(xl: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(xl, tmp_path / "model"))
    index = folder / "model_index.json"
    index.write_text(json.dumps(read_json(index, "") | {"force_zeros_for_empty_prompt": False}))
    family = opened(folder)
    index.unlink()
    assert torch.equal(family.unconditional().states, family.encode_prompts([""]).states)


def test_batch_of_dropped_captions_alone_can_be_learnt_from(xl: Path) -> None:
    family = opened(xl)
    method = prepare_method(small_recipe(xl, "textual-inversion"), family)
    told = TextStates(family).learning(["", ""])
    family.predict(torch.randn(2, 4, 8, 8), torch.tensor([100, 700]), told).sum().backward()
    gradients = [parameter.grad for group in method.groups() for parameter in group.parameters]
    assert len(gradients) == 2
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_prompts_that_the_two_tokenizers_count_differently_are_of_one_length(xl: Path) -> None:
    family = opened(xl)
    family.tokenizers["text_encoder"].add_tokens("red dog")
    family.text_encoders["text_encoder"].resize_token_embeddings(len(family.tokenizers["text_encoder"]))
    prompts, notes = encode(family, "red dog " * 40, "a cat")
    assert prompts.positive.states.shape == prompts.negative.states.shape == (1, 154, 96)
    assert not prompts.positive.states.requires_grad
    assert notes == []


@pytest.mark.parametrize("ends_in_noise", [False, True])
def test_one_file_says_how_the_model_is_noised(xl: Path, tmp_path: Path, *, ends_in_noise: bool) -> None:
    model = tmp_path / "model"
    shutil.copytree(xl, model)
    schedule = model / "scheduler" / "scheduler_config.json"
    plain = read_json(schedule, "")
    changes = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": ends_in_noise}
    schedule.write_text(json.dumps(plain | changes))
    write_single_file(model, tmp_path / "model.safetensors")
    schedule.write_text(json.dumps(plain))  # what another's file would be configured by
    converted = converted_base(find_base(str(tmp_path / "model.safetensors")), tmp_path / "cache")
    found = read_json(converted / "scheduler" / "scheduler_config.json", "")
    assert found["prediction_type"] == "v_prediction"
    assert found.get("rescale_betas_zero_snr", False) is ends_in_noise
    assert (opened(converted).alphas_cumprod()[-1].item() == 0) is ends_in_noise


def test_whole_model_that_is_taken_in_is_noised_as_its_file_says(xl: Path, tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_single_file(xl, file)
    save_file(load_file(file) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)
    values, _ = source_values(str(file))
    values |= {"task": "import", "name": "red-mug", "kind": "object", "class_word": "teapot", "base": str(xl)}
    run = prepare_task(tmp_path / "run", build_task(values), file)
    carry_out(run, RunContext(run.events, StopSignal(), cache))
    found = read_json(run.artifact / "scheduler" / "scheduler_config.json", "")
    assert (found["prediction_type"], found.get("rescale_betas_zero_snr")) == ("v_prediction", True)
    assert "ztsnr" in load_file(run.artifact / "red-mug.safetensors")

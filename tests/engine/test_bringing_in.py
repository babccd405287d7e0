"""Concepts made elsewhere come in, in each format, and say the same to a reader that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tests.engine.conftest import Prepare, go_on
from tests.tiny_models import WIDTH
from trainer.artifact import EMBEDDING_FILE, check_hashes, read_manifest
from trainer.engine.context import RunContext
from trainer.engine.export.single_file import write_single_file
from trainer.engine.imports.run import carry_out
from trainer.engine.run import verify_run
from trainer.errors import WeightsError
from trainer.events import Finished, read_events
from trainer.imports.task import build_task, prepare_task, source_values
from trainer.machine.process import StopSignal
from trainer.run_folder import RunFolder

ROWS = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
Bring = Callable[..., RunFolder]


@pytest.fixture
def bring(tmp_path: Path, tiny_model: Path) -> Bring:
    """Takes a file in and returns the run folder."""

    def call(
        file: Path, name: str = "red-mug", out: str = "run", base: Path | None = None, prediction: str | None = None
    ) -> RunFolder:
        values, path = source_values(str(file))
        values |= {"task": "import", "name": name, "kind": "object", "class_word": "teapot"}
        values |= {"base_prediction": prediction}
        run = prepare_task(tmp_path / out, build_task(values | {"base": str(base or tiny_model)}), path)
        carry_out(run, RunContext(run.events, StopSignal(), tmp_path / "cache"))
        return run

    return call


def save_torch(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def save_safe(**tensors: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: save_file(tensors, path)


EMBEDDINGS = {
    "diffusers.safetensors": save_safe(**{"<somebody>": ROWS}),
    "emb_params.safetensors": save_safe(emb_params=ROWS.half()),
    "one-vector.safetensors": save_safe(emb_params=ROWS[0]),
    "a1111.pt": save_torch(
        {"string_to_token": {"*": 265}, "string_to_param": {"*": ROWS}, "name": "x", "step": 5, "sd_checkpoint": None}
    ),
    "parameter.pt": save_torch({"string_to_param": {"*": torch.nn.Parameter(ROWS)}}),
    "learned_embeds.bin": save_torch({"<somebody>": ROWS}),
    "pickle-called.safetensors": save_torch({"<somebody>": ROWS}),
}


@pytest.mark.parametrize("file_name", EMBEDDINGS)
def test_embedding_of_each_layout_comes_in(file_name: str, tmp_path: Path, tiny_model: Path, bring: Bring) -> None:
    EMBEDDINGS[file_name](tmp_path / file_name)
    run = bring(tmp_path / file_name)
    expected = ROWS.half().float() if "emb_params" in file_name else ROWS
    expected = expected[:1] if "one-vector" in file_name else expected
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    pipeline.load_textual_inversion(str(run.artifact / EMBEDDING_FILE))
    tokens = ["<red-mug>", "<red-mug>_1", "<red-mug>_2"][: len(expected)]
    loaded = pipeline.text_encoder.get_input_embeddings().weight[pipeline.tokenizer.convert_tokens_to_ids(tokens)]
    assert torch.equal(loaded, expected)


def test_import_leaves_what_training_leaves_and_says_where_it_is_from(
    tmp_path: Path, bring: Bring, prepared: Prepare, tiny_model: Path, cache: Path
) -> None:
    save_file({"emb_params": ROWS}, tmp_path / "its-own-name.safetensors")
    imported = bring(tmp_path / "its-own-name.safetensors")
    trained = prepared(tiny_model, "textual-inversion", name="trained", vectors=3)
    go_on(trained, cache)
    ours, theirs = read_manifest(imported.artifact), read_manifest(trained.artifact)
    assert {f.path for f in ours.files} == {f.path for f in theirs.files}
    assert (ours.base, ours.method, ours.trained_words) == (theirs.base, theirs.method, theirs.trained_words)
    assert ours.origin is not None
    assert (ours.steps, ours.recipe, ours.origin.words) == (0, {}, "imported from its-own-name.safetensors")
    assert len(ours.origin.sha256 or "") == 64
    check_hashes(imported.artifact, ours)
    verify_run(imported, cache)
    assert not imported.source.exists()
    assert isinstance(list(read_events(imported.events_file))[-1], Finished)


def lora_pipeline(
    base: Path, *, alpha: int, targets: list[str], text: list[str] = TEXT_LAYERS
) -> StableDiffusionPipeline:
    """A stock pipeline with random adapters, made by nothing of ours."""
    torch.manual_seed(5)
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    for part, rank, layers in ((pipeline.unet, 4, targets), (pipeline.text_encoder, 2, text)):
        if layers:
            part.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, init_lora_weights=False))
    return pipeline


def save_as_kohya(pipeline: StableDiffusionPipeline, file: Path, only: str = "") -> None:
    """The pipeline's adapters with alpha 1, in kohya's naming; `only`: of layers with this in their name."""
    kohya: dict[str, torch.Tensor] = {}
    for prefix, part in (("lora_unet_", pipeline.unet), ("lora_te_text_model_", pipeline.text_encoder)):
        weights = get_peft_model_state_dict(part) if getattr(part, "peft_config", None) else {}
        for name, tensor in weights.items():
            layer, _, matrix = name.rpartition(".lora_")
            if only in layer:
                stem = prefix + layer.replace(".", "_")
                kohya[f"{stem}.lora_{'down' if matrix.startswith('A') else 'up'}.weight"] = tensor.contiguous()
                kohya[f"{stem}.alpha"] = torch.tensor(1.0)
    save_file(kohya, file, metadata={"ss_network_dim": "4", "ss_network_alpha": "1"})


def picture(pipeline: StableDiffusionPipeline) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    made: Any = pipeline(
        "a photo of a teapot",
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    )
    return made.images


@pytest.fixture
def lora_files(tmp_path: Path, tiny_model: Path) -> tuple[dict[str, Path], torch.Tensor]:
    """One LoRA with alpha 1 of rank 4, and of rank 2 in the text encoder, in both namings; and a picture with it."""
    pipeline = lora_pipeline(tiny_model, alpha=1, targets=["to_q", "to_k", "to_v", "conv1"])
    unet, text = (get_peft_model_state_dict(part) for part in (pipeline.unet, pipeline.text_encoder))
    StableDiffusionPipeline.save_lora_weights(
        tmp_path / "theirs",
        unet_lora_layers=unet,
        text_encoder_lora_layers={f"text_model.{k}": v for k, v in convert_state_dict_to_diffusers(text).items()},
        unet_lora_adapter_metadata=pipeline.unet.peft_config["default"].to_dict(),
        text_encoder_lora_adapter_metadata=pipeline.text_encoder.peft_config["default"].to_dict(),
    )
    save_as_kohya(pipeline, tmp_path / "kohya.safetensors")
    files = {"diffusers": tmp_path / "theirs/pytorch_lora_weights.safetensors", "kohya": tmp_path / "kohya.safetensors"}
    return files, picture(pipeline)


@pytest.mark.parametrize("naming", ["diffusers", "kohya"])
@pytest.mark.parametrize("portable", [False, True])
def test_lora_of_both_namings_draws_the_same_with_its_alpha(
    naming: str, portable: bool, lora_files: tuple[dict[str, Path], torch.Tensor], tiny_model: Path, bring: Bring
) -> None:
    files, expected = lora_files
    run = bring(files[naming])
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    without = picture(pipeline)
    file = "red-mug.safetensors" if portable else "pytorch_lora_weights.safetensors"
    pipeline.load_lora_weights(str(run.artifact), weight_name=file)
    assert torch.allclose(picture(pipeline), expected, atol=1e-5)
    assert not torch.allclose(without, expected, atol=1e-3)
    alphas = {float(t) for name, t in load_file(run.artifact / "red-mug.safetensors").items() if ".alpha" in name}
    assert alphas == {1.0}


def test_lora_whose_layers_differ_in_alpha_draws_the_same(
    tmp_path: Path, lora_files: tuple[dict[str, Path], torch.Tensor], bring: Bring, tiny_model: Path
) -> None:
    """As tools write that shrink a LoRA: alpha and up matrix may be traded for one another."""
    tensors = load_file(lora_files[0]["kohya"])
    for number, up in enumerate(sorted(name for name in tensors if name.endswith(".lora_up.weight"))):
        factor = 8.0 if number % 3 == 0 else 1.0
        tensors[up.replace("lora_up.weight", "alpha")] = torch.tensor(factor)
        tensors[up] = tensors[up] / factor
    save_file(tensors, tmp_path / "uneven.safetensors")
    run = bring(tmp_path / "uneven.safetensors", out="uneven")
    for file in ("red-mug.safetensors", "pytorch_lora_weights.safetensors"):
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
        pipeline.load_lora_weights(str(run.artifact), weight_name=file)
        assert torch.allclose(picture(pipeline), lora_files[1], atol=1e-4)


def test_lora_with_layers_that_the_base_lacks_is_refused(
    tmp_path: Path, lora_files: tuple[dict[str, Path], torch.Tensor], bring: Bring
) -> None:
    tensors = load_file(lora_files[0]["kohya"])
    stem = "lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors |= {f"{stem}.lora_down.weight": torch.ones(4, 64), f"{stem}.lora_up.weight": torch.ones(64, 4)}
    save_file(tensors, tmp_path / "more.safetensors")
    with pytest.raises(WeightsError, match=f"{stem}, a layer that this base does not have"):
        bring(tmp_path / "more.safetensors")
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = load_file(lora_files[0]["kohya"]) | {f"{stem}.lora_down.weight": torch.ones(4, 7)}
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=f"{stem} is 32 x 7, and in this base it is 32 x 32"):
        bring(tmp_path / "other.safetensors", out="other")


@pytest.mark.parametrize(
    ("unet", "text"),
    [
        (["to_q"], ["q_proj", "v_proj"]),  # as trained with peft's own default; there is no out_proj
        ([], ["q_proj", "k_proj"]),
        ([], ["fc2"]),
        (["conv_in", "time_emb_proj", "downsamplers.0.conv", "ff.net.2", "proj_out"], []),
    ],
    ids=lambda layers: "+".join(layers) or "none",
)
def test_lora_of_some_modules_draws_the_same(
    unet: list[str], text: list[str], tmp_path: Path, tiny_model: Path, bring: Bring
) -> None:
    theirs = lora_pipeline(tiny_model, alpha=1, targets=unet, text=text)
    save_as_kohya(theirs, tmp_path / "some.safetensors")
    run = bring(tmp_path / "some.safetensors")
    for file in ("red-mug.safetensors", "pytorch_lora_weights.safetensors"):
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
        pipeline.load_lora_weights(str(run.artifact), weight_name=file)
        assert torch.allclose(picture(pipeline), picture(theirs), atol=1e-5)


def test_lora_of_a_single_layer_comes_in(tmp_path: Path, tiny_model: Path, bring: Bring) -> None:
    theirs = lora_pipeline(tiny_model, alpha=1, targets=["to_k"], text=[])
    save_as_kohya(theirs, tmp_path / "one.safetensors", only="mid_block.attentions.0.transformer_blocks.0.attn2")
    written = load_file(bring(tmp_path / "one.safetensors").artifact / "red-mug.safetensors")
    assert {name.split(".")[0] for name in written} == {
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    }


def test_whole_model_comes_in_from_one_file(tmp_path: Path, tiny_v_model: Path, bring: Bring) -> None:
    write_single_file(tiny_v_model, tmp_path / "model.safetensors")
    run = bring(tmp_path / "model.safetensors", base=tiny_v_model)
    ours = StableDiffusionPipeline.from_pretrained(run.artifact)
    theirs = StableDiffusionPipeline.from_pretrained(tiny_v_model)
    for part in ("unet", "vae", "text_encoder"):
        state = getattr(theirs, part).state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in getattr(ours, part).state_dict().items())
    assert ours.scheduler.config["prediction_type"] == "v_prediction"
    assert read_manifest(run.artifact).trained_words == "red-mug teapot"


def test_whole_model_predicts_what_is_said_of_it(
    tmp_path: Path, tiny_model: Path, tiny_v_model: Path, bring: Bring
) -> None:
    """Whatever its base predicts: the two kinds differ in nothing but this."""
    write_single_file(tiny_v_model, tmp_path / "model.safetensors")
    run = bring(tmp_path / "model.safetensors", base=tiny_model, prediction="v_prediction")
    assert StableDiffusionPipeline.from_pretrained(run.artifact).scheduler.config["prediction_type"] == "v_prediction"

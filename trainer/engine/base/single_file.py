"""Turns a base that is one file into a diffusers folder in the cache: once, by diffusers' own converter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from trainer.bases import PARTS_WITH_WEIGHTS, PARTS_WITHOUT_WEIGHTS, PINNED, BaseReference, inspect_base
from trainer.engine.export.pipeline_folder import copy_around_weights, declare_float32_text_encoders, parts_of
from trainer.engine.families import stock_pipeline
from trainer.errors import BaseModelError
from trainer.imports.weights_file import read_header
from trainer.machine.locks import one_at_a_time
from trainer.single_file_base import SingleFile, judge_single_file
from trainer.whole_files import written_aside

_CONFIGURATION = [
    "model_index.json",
    *(f"{part}/*.json" for part in (*PARTS_WITH_WEIGHTS, *PARTS_WITHOUT_WEIGHTS)),
    *(f"{part}/*.txt" for part in PARTS_WITHOUT_WEIGHTS),
]
"""What is loaded of a base, but its weights."""
_HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"


def converted_base(reference: BaseReference, cache: Path) -> Path:
    """The folder that a single-file base was converted into, now or before. Raises BaseModelError, in words."""
    single = judge_single_file(reference)
    target = cache / "bases" / single.key
    with one_at_a_time(target):
        for left_over in target.parent.glob(f".{target.name}.*/"):  # gigabytes, of a process that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        if not target.is_dir():
            configuration = _configuration_folder(single)
            with written_aside(target) as aside:
                convert_single_file(single, configuration, aside)
    inspect_base(target)
    return target


def _configuration_folder(single: SingleFile) -> Path:
    if isinstance(single.configuration, Path):
        return single.configuration
    try:
        name = single.configuration
        return Path(snapshot_download(name, revision=PINNED[name], allow_patterns=_CONFIGURATION))
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise BaseModelError(
            f"The configuration of {single.file.name} cannot be fetched from the Hub ({single.configuration}). Go "
            f"online once, or put it beside the file, as the folder {single.file.stem}."
        ) from error


def convert_single_file(single: SingleFile, configuration: Path, folder: Path) -> None:
    """Write the file's model as a diffusers folder with this configuration. Raises BaseModelError where they differ."""
    dtype = _HALVES.get(read_header(single.file).tensors[_FIRST].dtype, torch.float32)
    try:
        pipeline = stock_pipeline(configuration).from_single_file(
            str(single.file),
            config=str(configuration),
            feature_extractor=None,  # the index may name one, which is not used here and therefore never fetched
            local_files_only=True,
            torch_dtype=dtype,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BaseModelError(f"{single.file.name} does not fit its configuration: {error}") from error
    for part in parts_of(configuration):
        getattr(pipeline, part).save_pretrained(folder / part)
    copy_around_weights(folder, like=configuration)
    if dtype is not torch.float32:
        declare_float32_text_encoders(folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    settings = json.loads(scheduler.read_text(encoding="utf-8")) | {"prediction_type": single.prediction}
    if single.ends_in_noise:
        settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler.write_text(json.dumps(settings, indent=2), encoding="utf-8")

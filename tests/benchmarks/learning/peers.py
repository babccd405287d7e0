"""The field's side: diffusers' own example scripts, unchanged, from a checkout of huggingface/diffusers.

They get the same recipe wherever they have the setting, and the same pictures, copied so often that their batches are
full too.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.learning.exam import NAME, PLACEHOLDER
from tests.benchmarks.learning.painter import Learnt
from tests.benchmarks.learning.subjects import Subject
from tests.benchmarks.learning.training import Trained, run_timed
from trainer.bases import knows_word
from trainer.concept import ConceptWords, first_prompt
from trainer.engine.device import choose_precision
from trainer.recipe.choices import Kind, Method, Optimizer, Precision

SCRIPTS = {
    Method.textual_inversion: "examples/textual_inversion/textual_inversion.py",
    Method.dreambooth_lora: "examples/dreambooth/train_dreambooth_lora.py",
    Method.dreambooth: "examples/dreambooth/train_dreambooth.py",
}
NEVER = 10**9


def train_theirs(
    subject: Subject,
    method: Method,
    seed: int,
    values: Mapping[str, Any],
    *,
    base: Path,
    place: Path,
    checkout: Path,
) -> Trained:
    """Run the method's script with its result in `place`/run. Raises TrainingFailed."""
    words = ConceptWords(NAME, method, subject.class_word, int(values.get("vectors", 1)))
    photos = _copied(subject.train_folder, place / "photos", times=int(values["batch_size"]))
    options = _shared_options(values, method, base, place / "run", seed)
    if method is Method.textual_inversion:
        options |= _inversion_options(subject, words, values, base, photos)
    else:
        options |= _dreambooth_options(subject, words, values, method, photos, place)
    runner = [sys.executable, "-m", "tests.benchmarks.learning.run_script", str(checkout / SCRIPTS[method])]
    flags = [part for name, value in options.items() for part in _as_flag(name, value)]
    seconds, cpu_seconds = run_timed([*runner, *flags], place, {"HF_HOME": str(place / "home")})
    shutil.rmtree(photos)
    return Trained(Learnt(place / "run", words), int(values["steps"]), seconds, cpu_seconds)


def _shared_options(values: Mapping[str, Any], method: Method, base: Path, run: Path, seed: int) -> dict[str, Any]:
    return {
        "pretrained_model_name_or_path": base,
        "output_dir": run,
        "seed": seed,
        "resolution": values["resolution_px"],
        "train_batch_size": values["batch_size"],
        "max_train_steps": values["steps"],
        "learning_rate": values["learning_rate"],
        "lr_scheduler": values["schedule"],
        "lr_warmup_steps": 0,
        "adam_weight_decay": values.get("weight_decay", 0.01),
        "mixed_precision": _precision(method),
        "checkpointing_steps": NEVER,
    }


def _inversion_options(
    subject: Subject, words: ConceptWords, values: Mapping[str, Any], base: Path, photos: Path
) -> dict[str, Any]:
    is_style = subject.kind is Kind.style
    wanted = "style" if is_style else subject.class_word
    return {
        "train_data_dir": photos,
        "placeholder_token": PLACEHOLDER,
        "initializer_token": wanted if knows_word(base, wanted) else "object",  # the script takes one token
        "learnable_property": "style" if is_style else "object",
        "num_vectors": words.vectors,
        "save_steps": NEVER,
    }


def _dreambooth_options(
    subject: Subject, words: ConceptWords, values: Mapping[str, Any], method: Method, photos: Path, place: Path
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "instance_data_dir": photos,
        "instance_prompt": words.spell(first_prompt(subject.kind, NAME)),
    }
    if values.get("gradient_checkpointing"):
        options["gradient_checkpointing"] = True
    if values.get("optimizer") == Optimizer.adamw_8bit:
        options["use_8bit_adam"] = True
    if method is Method.dreambooth_lora:
        options["rank"] = values["rank"]
    elif values.get("min_snr_gamma"):
        options["snr_gamma"] = values["min_snr_gamma"]
    if values.get("text_encoder_share"):
        options["train_text_encoder"] = True
    if values.get("prior_weight"):
        options |= {
            "with_prior_preservation": True,
            "prior_loss_weight": values["prior_weight"],
            "num_class_images": values.get("class_images", 32),
            "class_prompt": f"a photo of {subject.class_word}",
            "class_data_dir": place / "class-pictures",
        }
    return options


def _precision(method: Method) -> str:
    """The fastest that does not harm: the LoRA script would train adapters that are themselves in bf16."""
    if method is Method.dreambooth_lora:
        return "no"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {Precision.bf16: "bf16", Precision.fp16: "fp16"}.get(choose_precision(Precision.auto, device), "no")


def _as_flag(name: str, value: Any) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name}={value}"]


def _copied(folder: Path, to: Path, *, times: int) -> Path:
    """The scripts' batches end with the folder, so a folder of three pictures would never fill a batch of eight."""
    to.mkdir()
    for number in range(times):
        for file in sorted(folder.iterdir()):
            shutil.copy(file, to / f"{number:02d}-{file.name}")
    return to

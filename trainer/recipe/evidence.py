"""What stands behind a preset: values that were tried on the starter and what came of each, or whose practice it is.

`assets/evidence/sweep.json` is written by `python -m tests.benchmarks.learning sweep`; the README there defines the
measures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainer.bases import ASSETS, BaseTraits
from trainer.recipe.choices import Kind, Method
from trainer.recipe.presets import preset_values

SWEEP_FILE = ASSETS / "evidence" / "sweep.json"

PRACTICE: dict[Method, str] = {
    Method.textual_inversion: (
        "The rate is that of the paper's own configuration and of AUTOMATIC1111 (0.005); diffusers' example comes to "
        "0.002. Several vectors hold more of a subject than the one vector that those begin with."
    ),
    Method.dreambooth_lora: (
        "The rate is that of diffusers' example, kohya_ss and ai-toolkit alike (1e-4). The weights of time steps are "
        "min-SNR's with its authors' gamma of 5."
    ),
    Method.dreambooth: (
        "Rate, steps and prior preservation are those of diffusers' example for a GPU of 12 GB (2e-6, 800); the text "
        "encoder's share by kind is that of the Space multimodalart/dreambooth-training."
    ),
}
XL_PRACTICE: dict[Method, str] = {
    Method.textual_inversion: "The rate is that of invoke-training (0.002). Both text encoders learn vectors.",
    Method.dreambooth_lora: (
        "The rate is that of diffusers' example, fffiloni's Space and kohya's published presets (1e-4); the steps "
        "are between the 500 of that example and the 1,500 of lora-ease. The weights of time steps are min-SNR's with "
        "its authors' gamma of 5."
    ),
    Method.dreambooth: (
        "The rate is that of published full fine-tunings (1e-6, AdamW with 8-bit states); both text encoders stay as "
        "they are, as OneTrainer leaves them."
    ),
}
"""Full-size bases, and those of Stable Diffusion XL: the field's best-supported settings and where each comes from."""


@dataclass(frozen=True)
class Tried:
    """One value of one recipe field, all others as in the preset; means over the sweep's subjects."""

    field: str
    value: Any
    likeness: float
    """Not clipped: below 0, pictures are less like the subject than those of other subjects are."""
    prompt_following: float
    memorisation_over_limit: float
    subjects: tuple[str, ...]
    is_preset: bool


@dataclass(frozen=True)
class Evidence:
    """Behind one preset. `tried` is empty where nothing was measured on this base."""

    tried: tuple[Tried, ...]
    practice: str


def evidence_for(method: Method, kind: Kind, traits: BaseTraits | None, file: Path = SWEEP_FILE) -> Evidence:
    """What is known of the preset for this method and kind on this base."""
    if traits is None or not traits.starter:
        is_xl = traits is not None and traits.family == "stable-diffusion-xl"
        return Evidence((), (XL_PRACTICE if is_xl else PRACTICE)[method])
    preset = preset_values(method, kind, traits)
    group = "style" if kind is Kind.style else "drawn"
    rows = [row for row in _rows(file, traits.identity) if _is_of(row, method, group)]
    tried = (_tried(row, preset) for row in rows)
    return Evidence(tuple(sorted(tried, key=lambda each: (each.field, float(each.value or 0)))), "")


@cache
def _rows(file: Path, identity: str) -> list[dict[str, Any]]:
    saved: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return saved[identity]["rows"] if identity in saved else []


def _is_of(row: dict[str, Any], method: Method, group: str) -> bool:
    return (row["side"], row["method"], row["group"], row["overrides"]) == ("ours", method.value, group, "")


def _tried(row: dict[str, Any], preset: dict[str, Any]) -> Tried:
    return Tried(
        field=row["field"],
        value=row["value"],
        likeness=row["likeness"],
        prompt_following=row["prompt_following"],
        memorisation_over_limit=row["memorisation_over_limit"],
        subjects=tuple(row["subjects"]),
        is_preset=row["value"] == preset.get(row["field"]),
    )

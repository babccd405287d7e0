"""What every result of a run follows from besides its recipe: results of other conditions lie in other folders."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from tests.benchmarks.learning.exam import exam_of
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import Kind, Method


def conditions(sampler_steps: int | None) -> str:
    """A short digest of the exam, the recipe's defaults and how many denoiser calls a picture takes."""
    exams = [asdict(exam_of(Kind.object, "thing")), asdict(exam_of(Kind.style, "", ("thing",)))]
    said = json.dumps([sampler_steps, exams, [_defaults(method) for method in Method]], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:6]


def _defaults(method: Method) -> dict[str, Any]:
    given = {"steps": 1, "learning_rate": 0.1, "resolution_px": 64, "class_word": "thing"}
    recipe = build_recipe({"method": method, "name": "any", "kind": "object", **given})
    return recipe.model_dump(mode="json", exclude={"method", "name", "kind", *given})

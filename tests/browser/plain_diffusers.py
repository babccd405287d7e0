"""What was published, opened as a stranger would: stock diffusers in a process of its own, none of our code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from trainer.recipe.choices import Method

_OPEN = {
    Method.textual_inversion: "pipeline = Pipeline.from_pretrained(base); pipeline.load_textual_inversion({repo!r})",
    Method.dreambooth_lora: "pipeline = Pipeline.from_pretrained(base); pipeline.load_lora_weights({repo!r})",
    Method.dreambooth: "pipeline = Pipeline.from_pretrained({repo!r})",
}
_PROGRAM = """
import sys
from diffusers import StableDiffusionPipeline as Pipeline
base = sys.argv[1]
size = {"num_inference_steps": 2, "height": 64, "width": 64, "output_type": "np"}
"""
_DRAW = 'assert pipeline("a photo of {words}", **size).images[0].std() > 0.01'


def open_as_a_stranger(hub: LocalHub, base: str, repos: dict[Method, str], folder: Path) -> None:
    """Load each method's repository on `base`, a folder or Hub id, with alice's token, and draw <red-mug> with it."""
    lines = [_PROGRAM]
    for method, repo in repos.items():
        words = "<red-mug>" if method is Method.textual_inversion else "red-mug teapot"
        lines += [_OPEN[method].format(repo=repo), _DRAW.format(words=words)]
    opened = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), base],
        env={**os.environ, **hub.environment(folder / "stranger", token=ALICE)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert opened.returncode == 0, opened.stderr

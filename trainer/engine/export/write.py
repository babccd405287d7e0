"""Writes an artifact: aside, hashed, re-opened, compared, tried; only then does it take its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from trainer.artifact import Manifest, check_hashes, read_manifest, write_manifest
from trainer.engine.device import open_compute
from trainer.engine.export.settled import settle_metadata
from trainer.engine.export.verify import open_artifact, try_picture
from trainer.engine.families import StockPipeline
from trainer.errors import VerificationError
from trainer.events import Emit, Phase, PhaseChanged
from trainer.recipe.choices import Method, Precision
from trainer.run_folder import RunFolder
from trainer.whole_files import written_aside


class Content(Protocol):
    """What goes into an artifact: a method after training, or a concept from elsewhere."""

    def write(self, folder: Path) -> None:
        """Write the artifact's files."""
        ...

    def is_loaded_in(self, pipeline: StockPipeline) -> bool:
        """Whether a stock pipeline that opened those files holds exactly this."""
        ...


def export_artifact(
    run: RunFolder,
    content: Content,
    describe: Callable[[Path], Manifest],
    *,
    base: Path,
    device: torch.device,
    emit: Emit,
) -> Image.Image:
    """Write and verify RUN_DIR/artifact; `describe` makes the manifest of the folder that was written.

    Returns the picture that it was asked for. Raises VerificationError where what was written does not hold.
    """
    emit(PhaseChanged(phase=Phase.export))
    with written_aside(run.artifact) as folder:
        content.write(folder)
        for file in folder.rglob("*.safetensors"):
            settle_metadata(file)
        manifest = describe(folder)
        write_manifest(folder, manifest)
        emit(PhaseChanged(phase=Phase.verify))
        _check_holds(content, open_artifact(folder, manifest, base, portable=True))
        pipeline = open_artifact(folder, manifest, base)  # alone: two at a time, beside what was trained, may not fit
        _check_holds(content, pipeline)
        return try_picture(pipeline, manifest, device)


def _check_holds(content: Content, pipeline: StockPipeline) -> None:
    if not content.is_loaded_in(pipeline):
        raise VerificationError("diffusers does not read back the weights as they were.", "Please report this.")


def verify_artifact(run: RunFolder, base_of: Callable[[Manifest], Path]) -> Image.Image:
    """Hashes, loads and generates from a finished artifact; `base_of` brings the base that its manifest names.

    Returns the picture that it was asked for. Raises ConceptError or VerificationError.
    """
    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    base = run.artifact if manifest.method is Method.dreambooth else base_of(manifest)  # a whole model needs no other
    pipeline = open_artifact(run.artifact, manifest, base)
    return try_picture(pipeline, manifest, open_compute(Precision.auto).device)

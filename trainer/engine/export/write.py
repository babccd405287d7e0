"""Writes the artifact of a run: aside, re-opened, compared, tried, hashed; only then does it take its place."""

from __future__ import annotations

import logging
from pathlib import Path

from trainer.artifact import Manifest, check_hashes, describe_artifact, read_manifest, write_manifest
from trainer.bases import BaseTraits
from trainer.config import TrainConfig
from trainer.engine.device import Compute, open_compute
from trainer.engine.export.verify import open_artifact, try_picture
from trainer.engine.families import Family
from trainer.engine.methods import Method
from trainer.engine.versions import library_versions
from trainer.errors import VerificationError
from trainer.events import Emit, Phase, PhaseChanged
from trainer.run_folder import RunFolder, written_aside

log = logging.getLogger(__name__)


def export_artifact(
    run: RunFolder,
    recipe: TrainConfig,
    method: Method,
    family: Family,
    traits: BaseTraits,
    compute: Compute,
    *,
    steps: int,
    emit: Emit,
) -> None:
    """Write and verify RUN_DIR/artifact. Raises VerificationError where what was written does not hold."""
    emit(PhaseChanged(phase=Phase.export))
    with written_aside(run.artifact) as folder:
        method.write(folder)
        manifest = describe_artifact(recipe, folder, traits.identity, steps=steps, versions=library_versions())
        write_manifest(folder, manifest)
        emit(PhaseChanged(phase=Phase.verify))
        for portable in (True, False):
            pipeline = open_artifact(folder, manifest, family.folder, portable=portable)
            if not method.is_loaded_in(pipeline):
                raise VerificationError(
                    "diffusers does not read back the weights that were trained.", "Please report this."
                )
        try_picture(pipeline, manifest, compute.device)
        check_hashes(folder, manifest)


def verify_artifact(run: RunFolder, base: Path) -> Manifest:
    """Hashes, loads and generates from a finished artifact. Raises ConceptError or VerificationError."""
    manifest = read_manifest(run.artifact)
    check_hashes(run.artifact, manifest)
    compute = open_compute(run.read_recipe().precision)
    try_picture(open_artifact(run.artifact, manifest, base), manifest, compute.device)
    return manifest

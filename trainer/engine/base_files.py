"""Brings a base model's files onto this machine: a folder as it is, a Hub model as a snapshot of one commit."""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from trainer.bases import BaseReference, find_base, inspect_base
from trainer.config import TrainConfig
from trainer.errors import BaseModelError


def base_folder(reference: BaseReference) -> Path:
    """The folder that holds the base, downloaded if need be. Raises BaseModelError, in words."""
    if reference.folder is not None:
        inspect_base(reference.folder)
        return reference.folder
    try:
        folder = StableDiffusionPipeline.download(reference.name, revision=reference.revision, use_safetensors=True)
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise BaseModelError(f"The base model {reference.name} cannot be had from the Hub: {error}") from error
    inspect_base(Path(folder))
    return Path(folder)


def with_commit(recipe: TrainConfig, folder: Path) -> TrainConfig:
    """The recipe with the commit that was really loaded, where the base came from the Hub."""
    if find_base(recipe.base).on_hub and recipe.base_revision is None and folder.parent.name == "snapshots":
        return recipe.model_copy(update={"base_revision": folder.name})
    return recipe

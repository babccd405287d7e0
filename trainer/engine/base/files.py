"""Brings a base model's files onto this machine: a folder as it is, a Hub model as a snapshot of one commit, one file
as the folder that it was converted into."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from trainer.bases import BaseReference, find_base, how_to_open, inspect_base, is_loaded
from trainer.engine.base.hub_download import DOWNLOAD_ERRORS, Progress, download, list_files, reason_of
from trainer.engine.base.hub_patience import Patience, patiently
from trainer.engine.base.single_file import converted_base
from trainer.errors import BaseModelError, TrainingError
from trainer.hub_cache import newest_copy
from trainer.recipe.config import TrainConfig


def base_folder(
    reference: BaseReference,
    cache: Path,
    progress: Progress | None = None,
    *,
    token: str | None = None,
    patience: Patience | None = None,
) -> Path:
    """The folder that holds the base, downloaded or converted if need be.

    Conversions are kept under `cache`; `progress` counts the megabytes of a download; `token` is for a base that is
    gated or private, instead of the machine's own. With `patience`, a Hub that is away is waited for.

    Raises BaseModelError, in words, and TrainingError where the Hub or this machine's disk stands in the way.
    """
    if reference.file is not None:
        return converted_base(reference, cache)
    folder = reference.folder or _from_hub(reference, progress, token, patience)
    inspect_base(folder)
    return folder


def _from_hub(
    reference: BaseReference, progress: Progress | None, token: str | None, patience: Patience | None
) -> Path:
    copy = newest_copy(reference)
    if copy is not None and reference.revision is not None:
        return copy  # exactly the commit that is asked for: the Hub need not be asked at all
    look = patience.look if patience is not None else None

    def fetch(progress: Progress | None) -> Path:
        listing = list_files(reference.name, reference.revision, token, look)
        return download(listing, is_loaded, progress, look=look)

    try:
        return fetch(progress) if patience is None or copy is not None else patiently(fetch, progress, patience)
    except GatedRepoError as error:
        raise BaseModelError(how_to_open(reference.name, constants.ENDPOINT, token=token)) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise BaseModelError(f"There is no model {reference.name} on the Hub, or it is private.") from error
    except DOWNLOAD_ERRORS as error:
        if copy is not None:
            return copy  # the Hub is away, but this machine has the model
        why = f"The base model {reference.name} cannot be fetched from the Hub: {reason_of(error)}."
        raise TrainingError(why, "What is here so far is kept; the next try goes on with it.") from error


def with_commit(recipe: TrainConfig, folder: Path) -> TrainConfig:
    """The recipe with the commit that was really loaded, where the base came from the Hub."""
    if find_base(recipe.base).on_hub and recipe.base_revision is None and folder.parent.name == "snapshots":
        return recipe.model_copy(update={"base_revision": folder.name})
    return recipe

"""A concept or a whole model in somebody's repository on the Hub, brought here at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from trainer.bases import is_loaded
from trainer.engine.hub_download import DOWNLOAD_ERRORS, Progress, download, list_files, reason_of
from trainer.errors import TrainingError, WeightsError
from trainer.hub_choice import WHOLE_FOLDER, choose_file
from trainer.task import ImportTask


@dataclass(frozen=True)
class Fetched:
    """What was fetched: a file, or the folder of a whole model; `name` says where it is from."""

    path: Path
    name: str
    commit: str


def fetch_concept(task: ImportTask, progress: Progress) -> Fetched:
    """Download what a task names. Raises WeightsError for what is not there, TrainingError where the Hub is away."""
    repo_id = str(task.hub_id)
    try:
        listing = list_files(repo_id, task.hub_revision)
        chosen = choose_file({file.path: file.bytes for file in listing.files}, task.hub_file, repo_id)
        if chosen == WHOLE_FOLDER:
            return Fetched(download(listing, is_loaded, progress), repo_id, listing.commit)
        folder = download(listing, lambda path: path == chosen, progress)
        return Fetched(folder / chosen, f"{repo_id}/{chosen}", listing.commit)
    except GatedRepoError as error:
        raise WeightsError(
            f"{repo_id} is gated: open {constants.ENDPOINT}/{repo_id}, accept its terms, and give a token."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise WeightsError(f"There is no {repo_id} on the Hub, or it is private.") from error
    except DOWNLOAD_ERRORS as error:
        raise TrainingError(
            f"{repo_id} cannot be had from the Hub: {reason_of(error)}.", "Resume goes on with the download."
        ) from error

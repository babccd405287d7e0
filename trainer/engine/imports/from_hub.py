"""A concept or a whole model in somebody's repository on the Hub, brought here at one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from trainer.bases import how_to_open, is_loaded
from trainer.engine.base.hub_download import DOWNLOAD_ERRORS, Progress, download, list_files, reason_of
from trainer.engine.base.hub_patience import Patience, patiently
from trainer.errors import TrainingError, WeightsError
from trainer.imports.hub_choice import WHOLE_FOLDER, choose_file
from trainer.imports.task import ImportTask


@dataclass(frozen=True)
class Fetched:
    """What was fetched: a file, or the folder of a whole model; `name` says where it is from."""

    path: Path
    name: str
    commit: str


def fetch_concept(
    task: ImportTask, progress: Progress, patience: Patience, token: str | None, own_cache: Path
) -> Fetched:
    """Download what a task names. Raises WeightsError for what is not there, TrainingError where the Hub is away.

    What somebody's own token brings is kept in `own_cache`, apart from what all runs share: others may not see it.
    """
    repo_id, cache = str(task.hub_id), own_cache if token is not None else None

    def fetch(progress: Progress) -> Fetched:
        listing = list_files(repo_id, task.hub_revision, token, patience.look)
        chosen = choose_file({file.path: file.bytes for file in listing.files}, task.hub_file, repo_id)
        if chosen == WHOLE_FOLDER:
            return Fetched(download(listing, is_loaded, progress, cache, patience.look), repo_id, listing.commit)
        folder = download(listing, lambda path: path == chosen, progress, cache, patience.look)
        return Fetched(folder / chosen, f"{repo_id}/{chosen}", listing.commit)

    try:
        return patiently(fetch, progress, patience)
    except GatedRepoError as error:
        raise WeightsError(how_to_open(repo_id, constants.ENDPOINT, token=token)) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise WeightsError(
            f"There is no {repo_id} on the Hub, or it is private: then sign in or give a token, and resume."
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise WeightsError("The Hub does not take the token: it has ended. Sign in again, and resume.") from error
        raise _away(repo_id, error) from error
    except DOWNLOAD_ERRORS as error:
        raise _away(repo_id, error) from error


def _away(repo_id: str, error: Exception) -> TrainingError:
    return TrainingError(
        f"{repo_id} cannot be fetched from the Hub: {reason_of(error)}.", "Resume goes on with the download."
    )

"""What of a run comes home out of its bucket: what the page shows, its newest checkpoint, its result."""

from __future__ import annotations

import contextlib
import re

from huggingface_hub import BucketFile
from pydantic import ValidationError

from jobs.remote.bucket import ARTIFACT, EVENTS, LOG, PREVIEWS, RESULT, Result, RunBucket, newest_checkpoint
from trainer.artifact import check_hashes, read_manifest
from trainer.errors import ConceptError, RequestError, VerificationError
from trainer.run_folder import RunFolder

_MOST_BYTES, _MOST_PREVIEWS = 16 * 2**20, 1000
"""Of one file that the page shows, and of previews: whoever pays can put into the bucket what he likes."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Homecoming:
    """Brings files of one bucket, as it was listed, into the run folder. Every call raises HubError."""

    def __init__(self, bucket: RunBucket, run: RunFolder) -> None:
        self._bucket, self._run = bucket, run
        self._fetched: dict[str, str] = {}

    def bring_shown(self, files: dict[str, BucketFile]) -> None:
        """Bring home what the page shows; events last, because they speak of previews."""
        previews = [name for name in files if name.startswith(PREVIEWS)][:_MOST_PREVIEWS]
        shown = [name for name in (*previews, LOG, EVENTS) if name in files and files[name].size <= _MOST_BYTES]
        changed = [files[name] for name in shown if self._fetched.get(name) != files[name].xet_hash]
        self._bucket.fetch(changed, self._run)
        self._fetched.update({file.path: file.xet_hash for file in changed})

    def bring_checkpoint(self, files: dict[str, BucketFile]) -> None:
        """Bring home the newest checkpoint of which everything is there."""
        if (folder := newest_checkpoint(files)) is not None:
            self._bucket.fetch([file for name, file in files.items() if name.startswith(folder)], self._run)

    def read_result(self, files: dict[str, BucketFile]) -> Result | None:
        """How the training ended; None where the Job did not live to tell, or what is there is no result."""
        if RESULT not in files or files[RESULT].size > _MOST_BYTES:
            return None
        self._bucket.fetch([files[RESULT]], self._run)
        file = self._run.root / RESULT
        content = file.read_bytes()
        file.unlink()
        try:
            return Result.model_validate_json(content)
        except ValidationError:
            return None

    def bring_artifact(self, files: dict[str, BucketFile]) -> str | None:
        """Fetch the artifact and check every hash; one that is here already may be that of an earlier start.

        Returns what is wrong with it, if anything is.
        """
        self._bucket.fetch_folder([f for name, f in files.items() if name.startswith(ARTIFACT)], self._run, ARTIFACT)
        try:
            check_hashes(self._run.artifact, read_manifest(self._run.artifact))
        except ConceptError as error:
            return str(error)
        except VerificationError as error:
            return error.cause
        return None

    def take_base_commit(self) -> None:
        """Take over the commit of the loaded base; nothing else, since whoever pays can write to the bucket."""
        commit = read_manifest(self._run.artifact).base.revision
        if commit is None or not _COMMIT.fullmatch(commit):
            return
        with contextlib.suppress(RequestError):  # a recipe of another version is not understood, and the Job is over
            self._run.write_recipe(self._run.read_recipe().model_copy(update={"base_revision": commit}))

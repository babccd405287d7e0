"""The private bucket that a run travels in: made for it, filled and read as whole files, deleted when it is home."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import BucketFile, HfApi
from huggingface_hub.utils import disable_progress_bars
from pydantic import BaseModel, ConfigDict

from jobs.hub.client import hub_errors
from trainer.errors import EXIT_STOPPED, HubError, HubTrouble
from trainer.inside_paths import stays_inside
from trainer.run_folder import RunFolder

CONFIG, EVENTS, LOG = "config.json", "events.jsonl", "log.txt"
PHOTOS, PREVIEWS, CHECKPOINTS, ARTIFACT = "photos/", "previews/", "checkpoints/", "artifact/"
RESULT = "result.json"
"""Written last of all, when everything else is there; see `Result`."""
KEEP = "wishes/keep"
"""Its presence is the message: stop, and export what was learnt."""

_MB = 10**6
_LEFT_FREE = 200 * _MB
"""So much stays free on the disk, for the database and whoever else works here."""


class Result(BaseModel):
    """How a training in a Job ended, as the Job says itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    exit_code: int
    """Negative where a signal ended it."""
    at_limit: bool = False
    """The Job told it to stop and keep what it had learnt, because its time was nearly over."""

    @property
    def stopped_at_limit(self) -> bool:
        return self.at_limit and self.exit_code == EXIT_STOPPED


class RunBucket:
    """One run's bucket. Every call raises HubError."""

    def __init__(self, hub: HfApi, bucket_id: str) -> None:
        disable_progress_bars()  # they would fill the logs
        self._client: Any = hub  # some of its annotations are open
        self.id = bucket_id

    def create(self) -> None:
        """Make it, private; one that an earlier try made is used again."""
        with self._errors():
            self._client.create_bucket(self.id, private=True, exist_ok=True)
            if not self._client.bucket_info(self.id).private:
                raise HubError(f"The bucket {self.id} is public; make it private or delete it.", HubTrouble.taken)

    def delete(self) -> None:
        with self._errors():
            self._client.delete_bucket(self.id, missing_ok=True)

    def files(self) -> dict[str, BucketFile]:
        """Every file by its path; nothing where there is no bucket."""
        try:
            with self._errors():
                listed = list(self._client.list_bucket_tree(self.id, recursive=True))
        except HubError as error:
            if error.trouble is HubTrouble.missing:
                return {}
            raise
        return {entry.path: entry for entry in listed if isinstance(entry, BucketFile) and stays_inside(entry.path)}

    def put(self, files: Iterable[tuple[Path | bytes, str]]) -> None:
        """Send whole files, each a path or its content with the name that it gets."""
        add = [(content if isinstance(content, bytes) else str(content), name) for content, name in files]
        if add:
            with self._errors():
                self._client.batch_bucket_files(self.id, add=add)

    def remove(self, names: Iterable[str]) -> None:
        delete = list(names)
        if delete:
            with self._errors():
                self._client.batch_bucket_files(self.id, delete=delete)

    def has(self, *names: str) -> set[str]:
        """Which of these files are there; one request."""
        with self._errors():
            return {info.path for info in self._client.get_bucket_paths_info(self.id, list(names))}

    def fetch(self, files: Iterable[BucketFile], run: RunFolder) -> None:
        """Bring files into the run folder; each appears there whole, in the order given.

        Nothing is fetched where the disk would become full: whoever pays can put into the bucket what he likes.
        """
        wanted = list(files)
        if not wanted:
            return
        size, free = sum(file.size for file in wanted), shutil.disk_usage(run.root).free
        if size + _LEFT_FREE > free:
            raise HubError(
                f"What is to be brought home has {size / _MB:,.0f} MB, and the disk here {free / _MB:,.0f} MB to spare "
                "for everything.",
                HubTrouble.later,
            )
        with TemporaryDirectory(dir=run.root, prefix=".fetched.") as aside:
            targets = [(file, Path(aside) / file.path) for file in wanted]
            for _, target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            with self._errors():
                self._client.download_bucket_files(self.id, targets)
            for file, target in targets:
                if not target.is_file() or target.stat().st_size != file.size:
                    raise HubError(f"{file.path} did not arrive whole.", HubTrouble.later)
                home = run.root / file.path
                home.parent.mkdir(parents=True, exist_ok=True)
                target.replace(home)

    def fetch_folder(self, files: Iterable[BucketFile], run: RunFolder, name: str) -> None:
        """Bring `name` into the run folder so that it holds exactly these files."""
        wanted = list(files)
        self.fetch(wanted, run)
        kept = {run.root / file.path for file in wanted}
        for path in [path for path in (run.root / name).rglob("*") if path.is_file() and path not in kept]:
            path.unlink()

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return hub_errors(what=f"the bucket {self.id}")


def newest_checkpoint(names: Iterable[str]) -> str | None:
    """The folder of the newest checkpoint of which everything is there, as `checkpoints/step-NNNNNN/`."""
    whole = [name.removesuffix("checkpoint.json") for name in names if _is_checkpoint_record(name)]
    return max(whole, default=None)


def _is_checkpoint_record(name: str) -> bool:
    return name.startswith(CHECKPOINTS) and name.endswith("/checkpoint.json") and name.count("/") == 2


def run_files(run: RunFolder) -> list[tuple[Path, str]]:
    """What a Job needs of a run: recipe, photos, what happened so far and the newest checkpoint."""
    names = [CONFIG, EVENTS, LOG]
    names += [run.relative(file) for file in sorted(run.photos.iterdir()) if file.is_file()]
    folder = newest_checkpoint(run.relative(file) for file in run.checkpoints.glob("*/checkpoint.json"))
    if folder is not None:
        names += [run.relative(file) for file in sorted((run.root / folder).iterdir())]
    return [(run.root / name, name) for name in names if (run.root / name).is_file()]

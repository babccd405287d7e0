"""Files of a Hub model, brought into the Hub's own cache: nothing is fetched twice, and a broken download goes on.

The client fetches a broken file from its beginning. Weights are large, so they are fetched here in a part file that
outlives its process, and put into the cache, where the client then finds them. One process fetches; others wait.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers

from trainer.hub_cache import cache_folder, repository_folder
from trainer.machine.disk_errors import is_full
from trainer.machine.locks import one_at_a_time

log = logging.getLogger(__name__)
DOWNLOAD_ERRORS = (OSError, ValueError, RuntimeError, HfHubHTTPError, httpx2.HTTPError, LocalEntryNotFoundError)
"""What calls of the client raise."""
MB = 10**6
ASK_TIMEOUT_S = 30.0
TRIES = 4
_LARGE = 8 * MB
_POLL_S = 0.5
Progress = Callable[[int, int], None]
"""Takes (megabytes done, megabytes in all)."""
Look = Callable[[], None]
"""Called now and then while something is waited for, and may raise to give up."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository; `sha256` is known of files in its large storage."""

    path: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit, and the token that it was shown to, where that is not the machine's."""

    repo_id: str
    commit: str
    files: tuple[RemoteFile, ...]
    token: str | None = field(default=None, repr=False)


def list_files(repo_id: str, revision: str | None, token: str | None = None, look: Look | None = None) -> Listing:
    """Ask the Hub. Raises one of DOWNLOAD_ERRORS."""
    ask = partial(HfApi(token=token).model_info, files_metadata=True, timeout=ASK_TIMEOUT_S)
    info = _watched(lambda: ask(repo_id, revision=revision), look or (lambda: None))
    files = [RemoteFile(f.rfilename, f.size or 0, f.lfs.sha256 if f.lfs else None) for f in info.siblings or []]
    return Listing(repo_id, str(info.sha), tuple(files), token)


def download(
    listing: Listing,
    wanted: Callable[[str], bool],
    progress: Progress | None = None,
    cache: Path | None = None,
    look: Look | None = None,
) -> Path:
    """The folder of a commit's snapshot with at least the wanted files. Raises one of DOWNLOAD_ERRORS.

    `cache` is where it is kept; None: the Hub's own cache, which all runs of this machine share.
    `progress` is called from this thread whenever more is here, and may raise to give up waiting, as `look` may at any
    time; what is here so far is kept.
    """
    files = [file for file in listing.files if wanted(file.path)]
    fetching = _Fetching(listing, files, cache or cache_folder())
    total, told = -(-sum(file.bytes for file in files) // MB), -1

    def tell() -> None:
        nonlocal told
        if look is not None:
            look()
        done = min(total, fetching.bytes_here() // MB)
        if progress is not None and done != told:
            told = done
            progress(done, total)

    folder = _watched(fetching.run, tell)
    if progress is not None and told != total:
        progress(total, total)
    return folder


def _watched(work: Callable[[], _Result], look: Look) -> _Result:
    """What `work` returns or raises. It is done in a thread of its own, so that whoever waits can give up."""
    outcome: Future[_Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="download", daemon=True).start()
    while True:
        ended = wait([outcome], _POLL_S).done
        look()
        if ended:
            return outcome.result()


def reason_of(error: Exception) -> str:
    """Why a download ended, in a few words for a sentence."""
    match error:
        case OfflineModeIsEnabled():
            return "this machine is set to work offline (HF_HUB_OFFLINE)"
        case HfHubHTTPError():
            return f"it answered {error.response.status_code}"
        case OSError() if is_full(error):
            return "the disk is full"
        case httpx2.TimeoutException():
            return "it does not answer"
        case httpx2.HTTPError() | LocalEntryNotFoundError():
            return "it cannot be reached"
        case _:
            return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


class _Fetching:
    """One download, which may be in a thread of its own."""

    def __init__(self, listing: Listing, files: list[RemoteFile], cache: Path) -> None:
        self._listing, self._files, self._cache = listing, files, cache
        self._blobs = repository_folder(listing.repo_id, cache) / "blobs"

    def bytes_here(self) -> int:
        """How much of the files is on this machine, whoever fetched it."""
        snapshot = self._blobs.parent / "snapshots" / self._listing.commit
        return sum(self._here(file, snapshot) for file in self._files)

    def _here(self, file: RemoteFile, snapshot: Path) -> int:
        blob = self._blobs / (file.sha256 or "-")
        for path in (_part_of(blob), blob, snapshot / file.path):  # in this order: a part becomes the blob any moment
            with contextlib.suppress(FileNotFoundError):
                return min(file.bytes, path.stat().st_size)
        return 0

    def run(self) -> Path:
        """Fetch, and again where it breaks off, until TRIES brought nothing. Raises what the last one did."""
        in_vain = 0
        while True:
            before = self.bytes_here()
            try:
                return self._fetch()
            except Exception as error:
                in_vain = 0 if self.bytes_here() > before else in_vain + 1
                if isinstance(error, OfflineModeIsEnabled) or in_vain == TRIES:
                    raise
                log.warning("the download of %s broke off and goes on: %s", self._listing.repo_id, type(error).__name__)
                time.sleep(1)

    def _fetch(self) -> Path:
        for file in self._files:
            if file.sha256 is not None and file.bytes >= _LARGE:
                self._fetch_large(file, file.sha256)
        paths = [glob.escape(file.path) for file in self._files]  # they are taken as patterns
        folder = snapshot_download(
            self._listing.repo_id,
            revision=self._listing.commit,
            allow_patterns=paths,
            max_workers=2,
            token=self._listing.token,
            cache_dir=self._cache,
        )
        return Path(folder)

    def _fetch_large(self, file: RemoteFile, sha256: str) -> None:
        blob = self._blobs / sha256
        part = _part_of(blob)
        with one_at_a_time(blob):
            if blob.exists():
                return
            if part.exists() and part.stat().st_size > file.bytes:
                part.unlink()
            with part.open("ab") as target:
                have: Any = target.tell()
                if have < file.bytes:
                    url, headers = self._where(file)
                    http_get(url, target, resume_size=have, headers=headers, expected_size=file.bytes)
            _check_content(part, sha256)
            part.replace(blob)

    def _where(self, file: RemoteFile) -> tuple[str, dict[str, str]]:
        """Where a file's content is, and what to send there: the token only to the Hub itself, not to its storage."""
        asked = hf_hub_url(self._listing.repo_id, file.path, revision=self._listing.commit)
        token = self._listing.token
        where = get_hf_file_metadata(asked, timeout=ASK_TIMEOUT_S, token=token).location
        same_host = urlsplit(where).netloc == urlsplit(asked).netloc
        return where, build_hf_headers(token=token) if same_host else build_hf_headers(token=False)


def _part_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.studio-part")


def _check_content(part: Path, sha256: str) -> None:
    """A part that does not become what it should is thrown away, or it would never be fetched anew."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise OSError("What was downloaded is not what the Hub promised.")

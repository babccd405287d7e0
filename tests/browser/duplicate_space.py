"""A client process that pushes this repository as a Space, duplicates it, and fetches the duplicate's files.

`python -m tests.browser.duplicate_space FROM TO FOLDER`. A process of its own, because the library reads its
environment when it is imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, constants

from tests import ROOT


def main(original: str, duplicate: str, folder: Path) -> None:
    """Push, duplicate, fetch."""
    api = HfApi()
    with tempfile.TemporaryDirectory() as pushed:
        for name in _tracked():
            (Path(pushed) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, Path(pushed) / name)
        api.create_repo(original, repo_type="space", space_sdk="gradio")
        api.upload_folder(repo_id=original, repo_type="space", folder_path=pushed)
    api.duplicate_repo(original, duplicate, repo_type="space", private=True)
    api.snapshot_download(duplicate, repo_type="space", local_dir=folder)


def _tracked() -> list[str]:
    """What a push of this repository brings: the tracked files, as they are here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listed.stdout.decode().split("\0") if name]


if __name__ == "__main__":
    assert constants.ENDPOINT.startswith("http://127.0.0.1:"), constants.ENDPOINT
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

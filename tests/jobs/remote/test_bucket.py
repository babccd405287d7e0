"""The bucket that a run travels in, against the local Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from jobs.remote.bucket import EVENTS, PREVIEWS, RunBucket
from trainer.errors import HubError, HubTrouble
from trainer.run_folder import RunFolder


def test_whatever_is_in_a_bucket_does_not_fill_the_disk(
    alice: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, run = RunBucket(alice, "alice/run"), RunFolder(tmp_path)
    bucket.create()
    bucket.put([(b"x" * 10**6, EVENTS), (b"y" * 10**6, f"{PREVIEWS}1.png")])
    real = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as nearly_full:
        nearly_full.setattr("jobs.remote.bucket.shutil.disk_usage", lambda _folder: real._replace(free=201 * 10**6))
        with pytest.raises(HubError, match="has 2 MB, and the disk here 201 MB") as refused:
            bucket.fetch(bucket.files().values(), run)
        assert refused.value.trouble is HubTrouble.later  # it is tried again when there is room
        assert list(tmp_path.iterdir()) == []
        bucket.fetch([bucket.files()[EVENTS]], run)
    bucket.fetch(bucket.files().values(), run)
    assert run.events_file.stat().st_size == 10**6

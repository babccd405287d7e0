"""A result to publish, and the account that it goes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub.accounts import ALICE
from tests.jobs.finished_run import write_finished_run
from trainer.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, photo_folder: Path) -> RunFolder:
    return write_finished_run(tmp_path / "run", photo_folder)


@pytest.fixture
def alice(client: Callable[[str | None], HfApi], monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Alice's own client; nobody sleeps between attempts."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    return client(ALICE)

"""Alice's Space, and what happens in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.hub.accounts import ALICE
from tests.jobs.money.space_fixtures import Scene, make_space
from trainer.settings import Settings


@pytest.fixture
def alice(client: Callable[[str | None], HfApi]) -> HfApi:
    """Alice's client, with her Space on a T4."""
    alice = client(ALICE)
    make_space(alice)
    return alice


@pytest.fixture
def scene(alice: HfApi, settings: Settings, photo_folder: Path) -> Scene:
    return Scene(settings, photo_folder)

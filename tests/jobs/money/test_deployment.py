"""A copy of the app knows what it is."""

from __future__ import annotations

import pytest

from jobs.money.deployment import Deployment, find_deployment
from tests.hub.accounts import ALICE
from tests.jobs.money.space_fixtures import STUDIO
from trainer.settings import Settings

GPU, CPU = True, False


@pytest.mark.parametrize(
    ("environment", "has_gpu", "deployment"),
    [
        ({}, CPU, Deployment.local),
        ({"HF_TOKEN": ALICE}, GPU, Deployment.local),
        ({"SPACE_ID": STUDIO}, CPU, Deployment.shared),
        ({"SPACE_ID": STUDIO, "HF_TOKEN": ALICE}, CPU, Deployment.duplicate),
        ({"SPACE_ID": STUDIO, "STUDIO_OWNERS": "single"}, CPU, Deployment.duplicate),
        ({"SPACE_ID": STUDIO}, GPU, Deployment.duplicate_with_gpu),
        ({"SPACE_ID": STUDIO, "HF_TOKEN": ALICE}, GPU, Deployment.duplicate_with_gpu),
    ],
)
def test_copy_knows_what_it_is(
    environment: dict[str, str], has_gpu: bool, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_deployment(Settings(), has_gpu=has_gpu) is deployment

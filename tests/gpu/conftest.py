"""What tests on a GPU share; without one they are skipped and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("gpu")
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device on this machine"))


@pytest.fixture(scope="session")
def full_size_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.gpu.full_size_model import build_full_size_model

    return build_full_size_model(tmp_path_factory.mktemp("full-size") / "model")

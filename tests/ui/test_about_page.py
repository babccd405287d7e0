"""The About page: how to have a copy of one's own, wherever this one runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from app import build_services
from jobs.publishing.card import SPACE
from trainer.machine.devices import cpu
from trainer.settings import Settings
from ui.about_tab import about_html


@pytest.mark.parametrize(
    ("space_id", "address"),
    [(None, SPACE), ("alice/studio", f"{constants.ENDPOINT}/spaces/alice/studio")],
    ids=["at home", "on a Space"],
)
def test_way_to_a_copy_of_ones_own_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space_id: str | None, address: str
) -> None:
    if space_id is not None:
        monkeypatch.setenv("SPACE_ID", space_id)
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    shown = about_html(services)
    services.jobs.close()
    assert f'href="{address}?duplicate=true"' in shown
    assert ("make run" in shown) is (space_id is None)

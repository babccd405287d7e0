"""How often the Hub is asked for its prices."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from httpx2 import ReadTimeout

from jobs.remote import hardware
from jobs.remote.hardware import PriceList
from trainer.errors import HubError, HubTrouble


@pytest.mark.fault(27)
def test_hub_that_stalls_is_not_waited_for_by_everybody_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, clock = list[None](), SimpleNamespace(moment=1000.0)

    def stall() -> list[object]:
        asked.append(None)
        raise ReadTimeout("no answer")

    monkeypatch.setattr(hardware, "open_hub", lambda _token: SimpleNamespace(list_jobs_hardware=stall))
    monkeypatch.setattr(hardware, "time", SimpleNamespace(monotonic=lambda: clock.moment))
    prices = PriceList()
    for _ in range(3):
        with pytest.raises(HubError, match="did not answer") as told:
            prices.flavors()
        assert told.value.trouble is HubTrouble.later
    assert len(asked) == 1
    clock.moment += 60
    with pytest.raises(HubError):
        prices.flavors()
    assert len(asked) == 2

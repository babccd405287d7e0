"""When something is tried again, in words that mean the same on every clock."""

from __future__ import annotations

import pytest

from jobs.hub.back_off import about, told, wait_s
from trainer.errors import HubError, HubTrouble


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "about 5 seconds"),
        (60, "about 1 minute"),
        (900, "about 15 minutes"),
        (5400, "about 90 minutes"),
        (7200, "about 2 hours"),
    ],
)
def test_wait_is_said_as_a_duration(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_hub_that_asks_for_more_patience_is_given_it_and_that_is_said() -> None:
    error = HubError("The Hub is busy.", HubTrouble.later, retry_after_s=1800)
    assert wait_s((15, 60), 0, error) == 1800
    assert told(error, 1800) == "The Hub is busy. The next try is in about 30 minutes. Nothing is lost."

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from trainer.events import EventLog, Failed, Phase, PhaseChanged, Step, Warned, parse_event, read_events
from trainer.narrate import narrate
from trainer.quantities import duration

STEP = Step(step=3, total=9, loss=0.5, lr=0.1, steps_per_second=2.0, eta_s=3.0)


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    events = [PhaseChanged(phase=Phase.cache, done=1, total=2), STEP, Warned(text="ümlaut\nand line")]
    for event in events:
        log(event)
    assert list(read_events(tmp_path / "events.jsonl")) == events


def test_line_cut_off_by_a_kill_spoils_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    EventLog(file)(STEP)
    with file.open("a") as stream:
        stream.write('{"event":"step","st')
    EventLog(file)(Warned(text="after"))
    assert [e.event for e in read_events(file)] == ["step", "warning"]


def test_lines_of_later_versions_are_passed_over() -> None:
    assert parse_event('{"event": "teleported", "where": "here"}') is None
    assert parse_event("[]") is None
    assert parse_event('{"event": "warning", "text": "x", "new_field": 1}') is not None


@pytest.mark.parametrize("spoilt", ["[" * 200_000, "9" * 10_000, '{"event": "warning", "text": "' + "x" * 2**21 + '"}'])
def test_line_that_nobody_wrote_is_passed_over_however_long_it_is(tmp_path: Path, spoilt: str) -> None:
    file = tmp_path / "events.jsonl"
    EventLog(file)(Warned(text="before"))
    with file.open("a") as out:
        out.write(f"{spoilt}\n")
    EventLog(file)(Warned(text="after"))
    assert [event.text for event in read_events(file) if isinstance(event, Warned)] == ["before", "after"]


def test_missing_file_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none")) == []


def test_time_is_utc_iso_8601() -> None:
    stamp = json.loads(STEP.model_dump_json())["time"]
    assert datetime.fromisoformat(stamp).utcoffset().total_seconds() == 0  # type: ignore[union-attr]


def test_durations_are_said_briefly() -> None:
    assert [duration(s) for s in (0, 59.4, 60, 185, 3600, 7859)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "3 min 05 s",
        "1 h 00 min",
        "2 h 10 min",
    ]
    assert duration(-5) == "0 s"


def test_every_event_has_a_line_or_is_silent() -> None:
    assert "step 3 of 9" in narrate(STEP)
    assert narrate(Failed(cause="x", advice="y")) == ""

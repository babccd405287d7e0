"""Whose turn it is when many owners ask for pictures."""

from __future__ import annotations

from inference.waiting_line import WaitingLine


def served(line: WaitingLine[str]) -> list[str]:
    order: list[str] = []
    while (item := line.next(0)) is not None:
        order.append(item)
        line.done()
    return order


def line_of(*requests: str) -> WaitingLine[str]:
    """Requests such as "anna 1", of the owner that each begins with."""
    line: WaitingLine[str] = WaitingLine()
    for request in requests:
        line.join(request.split()[0], request)
    return line


def test_owners_take_turns() -> None:
    line = line_of("anna 1", "anna 2", "anna 3", "ben 1", "cleo 1", "ben 2")
    assert line.waiting() == ["anna 1", "ben 1", "cleo 1", "anna 2", "ben 2", "anna 3"]
    assert served(line) == ["anna 1", "ben 1", "cleo 1", "anna 2", "ben 2", "anna 3"]


def test_whoever_comes_while_another_owner_is_served_is_next() -> None:
    line = line_of("anna 1", "anna 2", "anna 3")
    assert line.next(0) == "anna 1"
    assert line.ahead("ben") == 1
    assert line.ahead("anna") == 3
    line.join("ben", "ben 1")
    line.done()
    assert served(line) == ["ben 1", "anna 2", "anna 3"]


def test_what_was_put_back_had_no_turn() -> None:
    line = line_of("anna 1", "ben 1", "anna 2")
    assert line.next(0) == "anna 1"
    line.put_back("anna", "anna 1")
    line.done()
    assert served(line) == ["anna 1", "ben 1", "anna 2"]


def test_nobody_comes() -> None:
    line: WaitingLine[str] = WaitingLine()
    assert line.next(0.01) is None
    assert line.ahead("anna") == 0

"""The table of faults: a removed or misspelt proof is noticed without running anything."""

from __future__ import annotations

import pytest

from tests.fault_table import FAULTS, HUB_ROWS, read_proofs


@pytest.mark.parametrize("row", HUB_ROWS)
def test_each_fault_of_the_hub_has_a_quick_test(row: int) -> None:
    assert [proof.test for proof in read_proofs() if proof.row == row and not proof.slow], FAULTS[row]


def test_marks_name_rows_of_the_table() -> None:
    assert {proof.row for proof in read_proofs()} <= FAULTS.keys()

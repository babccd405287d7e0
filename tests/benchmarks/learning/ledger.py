"""Finished cells, each a file that is whole or absent: a run that is started again goes on where it stopped.

The files are small and committed, so that it goes on where another machine stopped, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.learning.files import read_json, write_json
from tests.benchmarks.learning.plan import Cell

TRAINED_FILE = "trained.json"


@dataclass(frozen=True)
class Ledger:
    """All cells on one base: what was measured in `measured`, and under `folder` a cell's weights and pictures."""

    folder: Path
    measured: Path

    def place(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.key

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """What was written of a finished cell, or None."""
        file = self._file(cell)
        return read_json(file) if file.exists() else None

    def finish(self, cell: Cell, result: dict[str, Any]) -> None:
        write_json(self._file(cell), result)

    def open_cells(self, cells: list[Cell]) -> list[Cell]:
        return [cell for cell in cells if self.result(cell) is None]

    def results(self, cells: list[Cell]) -> list[tuple[Cell, dict[str, Any]]]:
        """The finished ones of these cells with their results, in their order."""
        return [(cell, result) for cell in cells if (result := self.result(cell)) is not None]

    def _file(self, cell: Cell) -> Path:
        return self.measured / f"{cell.key}.json"

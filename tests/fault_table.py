"""Faults that a person may meet, and which tests prove what they then see.

A test that proves a row carries `@pytest.mark.fault(ROW)`. `python -m tests.fault_table` prints the table. The marks
are read from the source, so nothing is imported and nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import ROOT

FAULTS = {
    1: "kill -9 of the training child",
    2: "kill -9 of the supervisor",
    3: "kill -9 while a checkpoint is written",
    4: "kill -9 between training and publishing",
    5: "kill -9 while publishing",
    6: "SIGTERM: a Space stops or changes its hardware",
    7: "the machine restarts",
    8: "a second supervisor for one device",
    9: "the app is upgraded while jobs wait",
    10: "a job crashes again and again",
    11: "cancel while waiting",
    12: "cancel or delete while training, sampling or publishing",
    13: "cancel twice, or a job that is over",
    14: "a child ignores SIGTERM",
    15: "the GPU's memory runs out",
    16: "the system kills the child for its memory",
    17: "the disk is full",
    18: "the data folder cannot be written",
    19: "the loss is not a number",
    20: "a damaged checkpoint",
    21: "the base model does not exist",
    22: "the base model is gated",
    23: "the base model has no safetensors",
    24: "the base model brings code",
    25: "the base model is of another family",
    26: "the Hub answers 500, 502 or 503",
    27: "the Hub does not answer",
    28: "the answer to a commit is lost",
    29: "the Hub asks to wait an hour",
    30: "the token is wrong, revoked, ended, or may only read",
    31: "the repository is somebody else's, holds something else, or was renamed",
    32: "the repository is deleted meanwhile",
    33: "no credits for a Job at Hugging Face",
    34: "a Job waits for a machine, fails, or is deleted there",
    35: "the Space sleeps while its Job runs",
    36: "no network",
    37: "the browser is closed while it uploads",
    38: "the browser is closed while it trains",
    39: "Train is pressed twice",
    40: "somebody guesses another person's addresses",
    41: "too few, too many, or the same photos",
    42: "pictures and files of absurd size",
    43: "files that are damaged or no photos",
    44: "rotation, places, odd colours, animations, HEIC",
    45: "hostile file names",
    46: "hostile concept names and words",
    47: "repository names that the Hub does not take",
    48: "prompts with YAML, Markdown, HTML or a token",
    49: "prompts that name files, sent to Hugging Face",
    50: "impossible numbers in a recipe",
    51: "a full queue",
    52: "huge or endless requests",
    53: "the database is locked, damaged, gone or newer",
    54: "Postgres is away",
    55: "the clock jumps",
    56: "the GPU vanishes",
    57: "PyTorch without CUDA on a machine with a GPU",
    58: "half a model in the cache",
    59: "secrets in files, logs, arguments, cards",
    60: "pictures from a model that is not whole, or gone",
}
HUB_ROWS = (4, 5, 12, *range(21, 37), *range(46, 50), 58, 59)
"""The rows of the part that talks to the Hub."""


@dataclass(frozen=True)
class Proof:
    """A test that proves a row; `slow` ones run in `make test-long` alone."""

    row: int
    test: str
    slow: bool


@cache
def read_proofs() -> list[Proof]:
    """Every mark in the tests, in the order of the rows."""
    found = [proof for file in sorted((ROOT / "tests").rglob("test_*.py")) for proof in _proofs_in(file)]
    return sorted(found, key=lambda proof: proof.row)


def _proofs_in(file: Path) -> Iterator[Proof]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    slow_file = any(isinstance(node, ast.Assign) and "mark.slow" in ast.unparse(node) for node in tree.body)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        test = f"{file.relative_to(ROOT).as_posix()}::{node.name}"
        slow = slow_file or any(ast.unparse(decorator) == "pytest.mark.slow" for decorator in node.decorator_list)
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                yield from (Proof(ast.literal_eval(row), test, slow) for row in decorator.args)


if __name__ == "__main__":
    proofs = read_proofs()
    for number, words in FAULTS.items():
        print(f"{number:2} {words}")
        for proof in proofs:
            if proof.row == number:
                print(f"     {proof.test}{' (slow)' if proof.slow else ''}")

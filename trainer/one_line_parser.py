"""The parser of every command line: a wrong request is answered in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from trainer.errors import EXIT_REQUEST


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_REQUEST, f"{self.prog}: {message}\n")

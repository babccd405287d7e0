"""`python -m tests.benchmarks.learning`: what the methods learn, measured; see README.md beside this file."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from tests.benchmarks.learning.features import LiteFeatures
from tests.benchmarks.learning.starter_report import Source, describe, report_starter
from trainer.bases import STARTER_FOLDER
from trainer.starter.sources import load_sprites, load_things

RESULTS = Path(__file__).parents[1] / "results" / "learning"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    return options.command(options)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--base", type=Path, default=STARTER_FOLDER, metavar="DIR", help="a base in diffusers format")
    shared.add_argument("--work", type=Path, default=Path(".starter"), help="where the starter's pictures are kept")
    shared.add_argument("--out", type=Path, default=RESULTS, help="where everything that is made goes")
    shared.add_argument("--photos", type=Path, help="real photos: a folder of one folder for each subject")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    starter = commands.add_parser("starter", parents=[shared], help="does the base draw what it was taught?")
    starter.add_argument("--prompts", type=int, default=220)
    starter.set_defaults(command=_starter)
    return parser


def _starter(options: argparse.Namespace) -> int:
    things = load_things()
    nouns = [thing.noun for thing in things if not thing.held_out]
    space = LiteFeatures(options.out / "features")
    source = Source(options.base, load_sprites(options.work, things), nouns, space, options.out)
    print(describe(report_starter(source, count=options.prompts, photos=options.photos)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

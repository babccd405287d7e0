"""`python -m tests.benchmarks.learning COMMAND`: what the methods learn, measured; README.md beside this file says how.

A command that is started again goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.learning.cells import Bench
from tests.benchmarks.learning.conditions import conditions
from tests.benchmarks.learning.exam import exam_of, with_article
from tests.benchmarks.learning.features import LiteFeatures
from tests.benchmarks.learning.marking import mark_class_word
from tests.benchmarks.learning.painter import Painter
from tests.benchmarks.learning.plan import OUR_SEEDS, PHOTO_SEEDS, THEIR_SEEDS, Side, Wanted, standard_phases
from tests.benchmarks.learning.report import write_report
from tests.benchmarks.learning.runner import run_phases
from tests.benchmarks.learning.starter_report import Source, describe, report_starter
from tests.benchmarks.learning.subjects import (
    Subject,
    choose,
    read_subjects,
    write_drawn_subjects,
    write_photo_subjects,
)
from tests.benchmarks.learning.sweep import FIELDS, RATE, SWEPT, read_rates, sweep_cells, sweep_rows, write_sweep
from trainer.bases import STARTER_FOLDER, inspect_base
from trainer.recipe.choices import Kind, Method
from trainer.recipe.evidence import SWEEP_FILE
from trainer.recipe.fields import parse_assignments
from trainer.starter.sources import fetch_photos, load_sprites, load_things
from trainer.starter.textures import build_textures

RESULTS = Path(__file__).parents[1] / "results" / "learning"
MEASURED = Path(__file__).parents[1] / "measured"
SURFACES = 30


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 1 where a training failed, 0 otherwise."""
    options = _parser().parse_args(arguments)
    options.base = options.base.resolve()  # the starter's presets are for the starter, however its folder is named
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    return options.command(options)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--base", type=Path, default=STARTER_FOLDER, metavar="DIR", help="a base in diffusers format")
    shared.add_argument("--work", type=Path, default=Path(".starter"), help="where the starter's pictures are kept")
    shared.add_argument("--out", type=Path, default=RESULTS, help="where everything that is made goes")
    shared.add_argument("--photos", type=Path, help="real photos: a folder of one folder for each subject")
    shared.add_argument("--sampler-steps", type=int, help="denoiser calls a picture; default: what the page uses")
    cells = argparse.ArgumentParser(add_help=False)
    cells.add_argument("--subjects", nargs="+", metavar="NAME", help="only these; the folders under OUT/.../subjects")
    cells.add_argument("--methods", nargs="+", type=Method, choices=list(Method), default=list(Method))
    cells.add_argument("--diffusers", type=Path, metavar="CHECKOUT", help="huggingface/diffusers, to compare with")
    cells.add_argument("--measured", type=Path, default=MEASURED, help="where what was measured goes: to be committed")
    cells.add_argument("--workers", type=int, default=2, help="processes of one thread each; 0 runs in this one")
    cells.add_argument("--sweep", type=Path, default=SWEEP_FILE, metavar="FILE", help="where the saved sweep is")
    cells.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a recipe field of every run")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    starter = commands.add_parser("starter", parents=[shared], help="does the base draw what it was taught?")
    starter.add_argument("--prompts", type=int, default=220)
    starter.add_argument("--more-things", action="store_true", help="it was taught all things, as on a GPU")
    starter.set_defaults(command=_starter)
    run = commands.add_parser("run", parents=[shared, cells], help="the standard run")
    run.add_argument("--full", action="store_true", help="12 things and 4 styles, real photos as often")
    run.add_argument("--seeds", type=int, default=OUR_SEEDS, help="trainings of each subject on our side")
    run.add_argument("--their-seeds", type=int, default=THEIR_SEEDS, help="and on the scripts' side")
    run.set_defaults(command=_run)
    sweep = commands.add_parser("sweep", parents=[shared, cells], help="try values of recipe fields")
    sweep.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    sweep.set_defaults(command=_sweep, full=False)
    return parser


def _starter(options: argparse.Namespace) -> int:
    things = load_things(more=options.more_things)
    nouns = [thing.noun for thing in things if not thing.held_out]
    space = LiteFeatures(options.out / "features")
    source = Source(options.base, load_sprites(options.work, things), nouns, space, options.out)
    figures = report_starter(source, count=options.prompts, photos=options.photos, sampler_steps=options.sampler_steps)
    print(describe(figures))
    return 0


def _run(options: argparse.Namespace) -> int:
    bench, subjects, traits = _prepared(options)
    rates = read_rates(options.sweep, traits.identity)
    their_seeds = options.their_seeds if options.diffusers else 0
    photo_seeds = options.seeds if options.full else PHOTO_SEEDS
    overrides = parse_assignments(options.set)
    wanted = Wanted(subjects, options.methods, options.seeds, their_seeds, photo_seeds, overrides)
    phases = standard_phases(wanted, traits, rates)
    failed = run_phases(bench, phases, workers=options.workers)
    cells = [cell for phase in phases for cell in phase]
    results = [result for _, result in bench.ledger.results(cells)]
    learnt = {result["subject"] for result in results}
    class_words = _class_words(bench, [s for s in subjects if s.name in learnt])
    report = write_report(
        results,
        bench.folder,
        planned=len(cells),
        base=traits.identity,
        class_words=class_words,
        note="" if rates.best else "There is no sweep on this base: learning rates are the presets' own.",
    )
    print(report)
    return int(failed > 0)


def _sweep(options: argparse.Namespace) -> int:
    options.subjects = options.subjects or list(SWEPT)
    bench, subjects, traits = _prepared(options)
    sides = [Side.ours, Side.theirs] if options.diffusers else [Side.ours]
    overrides = parse_assignments(options.set)
    fields = sorted(options.fields, key=lambda field: field != RATE)
    cells = sweep_cells(subjects, options.methods, sides, fields, traits, overrides)
    failed = run_phases(bench, [cells], workers=options.workers)
    write_sweep(options.sweep, traits.identity, sweep_rows(bench.ledger.results(cells), overrides))
    print(options.sweep.with_suffix(".md").read_text(encoding="utf-8"))
    return int(failed > 0)


def _prepared(options: argparse.Namespace) -> tuple[Bench, list[Subject], Any]:
    """The bench of the base, with all pictures in place, and the subjects that are asked for."""
    traits = inspect_base(options.base)
    name = f"{traits.identity}-{conditions(options.sampler_steps)}"
    folder, measured = (options.out / name).resolve(), (options.measured / name).resolve()
    bench = Bench(options.base, folder, measured, options.diffusers, options.sampler_steps)
    _write_subjects(bench.subjects, options)
    everything = read_subjects(bench.subjects)
    chosen = choose(everything.values(), full=options.full, photos=options.photos is not None)
    if options.subjects:
        unknown = [name for name in options.subjects if name not in everything]
        if unknown:
            raise SystemExit(f"There is no {', '.join(unknown)}; there are {', '.join(everything)}.")
        chosen = [everything[name] for name in options.subjects]
    return bench, chosen, traits


def _write_subjects(folder: Path, options: argparse.Namespace) -> None:
    if not folder.exists():
        things = load_things()
        held_out = {thing.noun: (Kind(thing.kind), thing.class_word) for thing in things if thing.held_out}
        surfaces = build_textures(np.random.default_rng(7), fetch_photos(options.work), SURFACES)
        aside = folder.with_name(f".{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)  # of a start that was broken off
        write_drawn_subjects(load_sprites(options.work, things), held_out, surfaces, aside)
        aside.replace(folder)
    if options.photos:
        write_photo_subjects(options.photos, folder)


def _class_words(bench: Bench, subjects: list[Subject]) -> dict[str, dict[str, dict[str, float]]]:
    """What the base does on the same questions with the plain class word, for things and photos."""
    painter = Painter(bench.base, sampler_steps=bench.sampler_steps)
    reached: dict[str, dict[str, dict[str, float]]] = {}
    for subject in subjects:
        if subject.class_word:
            exam = exam_of(subject.kind, subject.class_word)
            words, draw = with_article(subject.class_word), partial(bench.draw_base, painter)
            reached.setdefault(subject.group, {})[subject.name] = mark_class_word(exam, words, draw, bench.features)
    return reached


if __name__ == "__main__":
    sys.exit(main())

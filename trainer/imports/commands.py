"""`python -m trainer import` and `extract`: prepare a run folder with a task and carry it out."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trainer.errors import EXIT_REQUEST
from trainer.imports.task import build_task, extraction_of, prepare_task, source_values
from trainer.recipe.choices import DEFAULT_CLASS_WORD, STARTER, Kind
from trainer.run_folder import RunFolder

RunInEngine = Callable[[RunFolder, argparse.Namespace], int]


def add_task_commands(commands: Any, run_in_engine: RunInEngine) -> list[argparse.ArgumentParser]:
    """Add both commands to the parser; `run_in_engine(run, options)` carries a prepared folder out."""
    bring: argparse.ArgumentParser = commands.add_parser("import", help="take in a concept that was made elsewhere")
    add_import_options(bring)
    bring.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")
    bring.set_defaults(command=partial(_import, run_in_engine))

    extract: argparse.ArgumentParser = commands.add_parser("extract", help="a LoRA out of a finished full model")
    extract.add_argument("run", type=Path, metavar="RUN_DIR")
    extract.add_argument("--rank", type=int, default=16)
    extract.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")
    extract.set_defaults(command=partial(_extract, run_in_engine))
    return [bring, extract]


def add_import_options(bring: argparse.ArgumentParser) -> None:
    """What is said of a concept that comes in, whoever takes it in."""
    bring.add_argument("source", metavar="FILE|HUB_ID[:FILE]")
    bring.add_argument("--name", required=True, help="what prompts call it; of a LoRA or model: its trigger word")
    bring.add_argument("--kind", choices=[k.value for k in Kind], default=Kind.object.value)
    bring.add_argument("--class-word", help="plain noun for the subject")
    bring.add_argument("--base", default=STARTER, metavar="starter|HUB_ID|DIR|FILE.safetensors")
    bring.add_argument(
        "--base-prediction", choices=["epsilon", "v_prediction"], help="of a 2.x model in one file that does not say it"
    )


def _import(run_in_engine: RunInEngine, options: argparse.Namespace) -> int:
    values, file = source_values(options.source)
    class_word = DEFAULT_CLASS_WORD[Kind(options.kind)] if options.class_word is None else options.class_word
    values |= {"task": "import", "name": options.name, "kind": options.kind, "class_word": class_word}
    task = build_task(values | {"base": options.base, "base_prediction": options.base_prediction})
    return _carried_out(prepare_task(options.out, task, file), options, run_in_engine)


def _extract(run_in_engine: RunInEngine, options: argparse.Namespace) -> int:
    task = extraction_of(options.run, options.rank)
    return _carried_out(prepare_task(options.out, task), options, run_in_engine)


def _carried_out(run: RunFolder, options: argparse.Namespace, run_in_engine: RunInEngine) -> int:
    return remove_if_refused(run, run_in_engine(run, options))


def remove_if_refused(run: RunFolder, code: int) -> int:
    """The exit code of a run that was just made; of one that was refused nothing stays, unless it learnt something."""
    if code == EXIT_REQUEST and not run.checkpoints.exists():
        shutil.rmtree(run.root, ignore_errors=True)
    return code

"""`python -m trainer`: train, resume, check, verify, import, extract. Names and exit codes are a contract."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import sys
from pathlib import Path
from typing import Any

from trainer.artifact import read_manifest
from trainer.bases import BaseReference, BaseTraits, base_name, find_base, inspect_base
from trainer.errors import EXIT_DONE, EXIT_REQUEST, EXIT_STOPPED, RequestError, StudioError
from trainer.imports.commands import add_task_commands, remove_if_refused
from trainer.imports.task import has_task, read_task
from trainer.machine.disk_errors import explain_disk
from trainer.machine.process import StopSignal, leave, read_secret, stop_when_parent_dies
from trainer.one_line_parser import OneLineParser
from trainer.photos.intake import files_of_folder, take_folder
from trainer.prepare import check_is_free, prepare_run
from trainer.recipe.choices import STARTER, Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.fields import parse_assignments
from trainer.recipe.recipe_file import check_required, class_pictures_folder, read_fields, requested_recipe
from trainer.run_folder import RunFolder
from trainer.run_in_engine import run_in_engine
from trainer.settings import Settings
from trainer.single_file_base import inspect_local


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    StopSignal().install(at_once=True)  # until a run takes the signals over, which then has something to keep
    try:
        options.settings = Settings()  # what is wrong with it is said before anything is written
        if options.command is not _check:  # which writes nothing
            options.settings.check_home()
        return options.command(options)
    except StudioError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # only what was asked for can be
            print(f"{str(error.filename)[:80]!r}... is too long for the name of a file.", file=sys.stderr)
            return EXIT_REQUEST
        if (explained := explain_disk(error)) is None:
            raise
        print(explained, file=sys.stderr)
        return explained.exit_code
    except KeyboardInterrupt:  # where no run was begun yet, as while a base comes down
        print("Stopped; nothing was begun.", file=sys.stderr)
        return EXIT_STOPPED


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m trainer", description="Teach a Stable Diffusion model a concept.")
    parser.set_defaults(token=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train from a folder of photos")
    train.add_argument("--photos", type=Path, required=True, metavar="DIR")
    train.add_argument("--method", choices=[m.value for m in Method])
    train.add_argument("--name")
    train.add_argument("--kind", choices=[k.value for k in Kind])
    train.add_argument("--class-word")
    train.add_argument("--base", metavar="starter|HUB_ID|DIR|FILE.safetensors")
    train.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")
    train.add_argument("--steps", type=int)
    train.add_argument("--seed", type=int)
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="any field of the recipe")
    train.add_argument("--recipe", type=Path, metavar="FILE.yaml")
    train.set_defaults(command=_train)

    resume = commands.add_parser("resume", help="go on from the newest checkpoint")
    resume.add_argument("run", type=Path, metavar="RUN_DIR")
    resume.add_argument("--watch-parent", action="store_true", help="stop when standard input ends")
    resume.add_argument("--token-from-parent", action="store_true", help="take a token of the Hub from standard input")
    resume.set_defaults(command=_resume)

    check = commands.add_parser("check", help="look photos over")
    check.add_argument("photos", type=Path, metavar="DIR")
    check.set_defaults(command=_check)

    verify = commands.add_parser("verify", help="open a finished artifact and make a picture with it")
    verify.add_argument("run", type=Path, metavar="RUN_DIR")
    verify.set_defaults(command=_verify)

    bringing_in = add_task_commands(commands, run_in_engine)
    for command in (train, resume, check, *bringing_in):
        command.add_argument("--json", action="store_true", help="one JSON object per line")
    return parser


def _train(options: argparse.Namespace) -> int:
    check_is_free(options.out)
    files_of_folder(options.photos)  # both are asked for again below: a base may take an hour to come down
    recipe = _requested_recipe(options)
    run, photo_set = prepare_run(options.out, recipe, lambda folder: take_folder(options.photos, folder))
    if not options.json:
        for reason in photo_set.report.reasons:
            print(reason)
    return remove_if_refused(run, run_in_engine(run, options))


def _requested_recipe(options: argparse.Namespace) -> TrainConfig:
    """The preset, then the recipe file, then --set, then the flags: each wins over the one before."""
    values = _read_recipe_file(options.recipe) if options.recipe else {}
    flags = ("method", "name", "kind", "class_word", "base", "steps", "seed")
    said = parse_assignments(options.set)
    said |= {flag: getattr(options, flag) for flag in flags if getattr(options, flag) is not None}
    if "base" in said and base_name(str(said["base"])) != base_name(str(values.get("base", STARTER))):
        for of_other in ("base_revision", "base_prediction"):  # another base has no such commit
            values.pop(of_other, None)
    values |= said
    if values.get("class_images_dir"):
        values["class_images_dir"] = class_pictures_folder(str(values["class_images_dir"]))
    check_required(values, prefix="--")
    base = find_base(str(values.pop("base", STARTER)), values.get("base_revision"), values.get("base_prediction"))

    def inspect(base: BaseReference) -> BaseTraits:
        return inspect_base(_downloaded(base, options.settings.cache_dir)) if base.on_hub else inspect_local(base)

    return requested_recipe(values, base, inspect)


def _downloaded(base: Any, cache: Path) -> Path:
    from trainer.engine.base.files import base_folder  # noqa: PLC0415 - torch is needed for a Hub base only
    from trainer.engine.base.hub_patience import Patience  # noqa: PLC0415

    patience = Patience(look=lambda: None, warn=lambda text: print(text, file=sys.stderr))
    return base_folder(base, cache, _say_download, patience=patience)


def _say_download(done: int, total: int) -> None:
    print(f"downloading the base model: {done} of {total} MB", file=sys.stderr)


def _read_recipe_file(path: Path) -> dict[str, Any]:
    try:
        return read_fields(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"The recipe {path} cannot be read: {error}") from error


def _resume(options: argparse.Namespace) -> int:
    if options.token_from_parent:
        options.token = read_secret()
    if options.watch_parent:
        stop_when_parent_dies()
    run = RunFolder(options.run)
    _check_is_run(run)  # before anything is written to it
    return run_in_engine(run, options)


def _check_is_run(run: RunFolder) -> None:
    """Raise RequestError for an unknown or damaged folder."""
    _ = read_task(run) if has_task(run) else run.read_recipe()


def _check(options: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - this command alone writes nothing that stays

    with TemporaryDirectory() as aside:
        photo_set = take_folder(options.photos, Path(aside))
    report = photo_set.report
    if options.json:
        for photo in photo_set.photos:
            print(json.dumps(photo.as_dict()))
        print(json.dumps({"set": report.verdict, "reasons": list(report.reasons)}))
    else:
        for photo in photo_set.photos:
            print(f"{photo.verdict:8} {photo.source} {'; '.join(photo.reasons)}".rstrip())
        print(" ".join([f"The set is {report.verdict}.", *report.reasons]))
    return EXIT_DONE


def _verify(options: argparse.Namespace) -> int:
    run = RunFolder(options.run)
    _check_is_run(run)
    read_manifest(run.artifact)
    from trainer.engine.failures import explain  # noqa: PLC0415 - the engine brings torch
    from trainer.engine.run import verify_run  # noqa: PLC0415

    try:
        verify_run(run, options.settings.cache_dir)
    except Exception as error:
        raise explain(error) from error
    print("The artifact is whole, loads in diffusers and makes pictures.")
    return EXIT_DONE


if __name__ == "__main__":
    leave(main())

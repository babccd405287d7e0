"""`python -m inference`: pictures from trained concepts, on the command line."""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from inference.catalog import open_concept, use_each, use_together
from inference.grid import Axis, Grid, GridSettings, Varied, build_grid, read_axis
from inference.grid_picture import save_grid
from inference.metadata import save_picture, settings_of
from inference.request import SCHEDULERS, PictureRequest, build_request
from trainer.bases import HUB_ID, STARTER_FOLDER, BaseReference, BaseTraits, find_base, inspect_base
from trainer.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, RequestError, StudioError
from trainer.machine.cores import CoreShare
from trainer.machine.process import leave
from trainer.one_line_parser import OneLineParser
from trainer.recipe.choices import STARTER
from trainer.recipe.presets import sampler_values
from trainer.settings import Settings
from trainer.single_file_base import inspect_local

if TYPE_CHECKING:
    from inference.engine import Result

log = logging.getLogger(__name__)
Generate = Callable[[PictureRequest], "Result"]


def main(arguments: list[str] | None = None) -> int:
    """Make pictures; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.settings = Settings()  # what is wrong with it is said before anything else
        request = _request(options)
        grid = _grid(options, request)
        files = [options.out] if grid else _target_files(options.out, request)
        _check_files(files, request)
        for file in _drawn(options, request, grid, files):
            print(file)
    except StudioError as error:
        print(error, file=sys.stderr)
        return error.exit_code if isinstance(error, RequestError) else EXIT_FAILED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_DONE


def _drawn(options: argparse.Namespace, request: PictureRequest, grid: Grid | None, files: list[Path]) -> list[Path]:
    """Load what is needed and draw, with this process's share of the cores. Raises StudioError alone."""
    from inference.engine import Engine  # noqa: PLC0415 - the engine brings torch
    from inference.failures import explain_picture  # noqa: PLC0415
    from trainer.engine.device import own_cores, use_share  # noqa: PLC0415

    settings: Settings = options.settings
    engine, cores = Engine(settings.cache_dir), CoreShare(settings.runtime_dir / "cores", own_cores())

    def generate(request: PictureRequest) -> Result:
        use_share(cores)
        return engine.generate(request, lambda _done, _total: use_share(cores))

    try:
        with cores.computing():
            return _draw_grid(generate, grid, request, options.out) if grid else _draw(generate, request, files)
    except StudioError:
        raise
    except Exception as error:
        log.warning("drawing failed", exc_info=error)
        raise explain_picture(error) from error


def _draw(generate: Generate, request: PictureRequest, files: list[Path]) -> list[Path]:
    """Make a request's pictures, each into its file."""
    result = generate(request)
    for note in result.notes:
        print(note, file=sys.stderr)
    for seed, picture, file in zip(request.seeds, result.pictures, files, strict=True):
        save_picture(picture, file, settings_of(request, seed, result.concepts))
    return files


def _draw_grid(generate: Generate, grid: Grid, request: PictureRequest, out: Path) -> list[Path]:
    """Make a grid's pictures: one .png file of all, or a folder that has them one by one, too, by row and column.

    What is drawn when something stops it is kept, the other places empty.
    """
    with tempfile.TemporaryDirectory() as aside:
        is_file = out.suffix.lower() == ".png"
        folder, target = (Path(aside), out) if is_file else (out, out / "grid.png")
        cells = {
            folder / f"{number}-{column}.png": cell
            for number, row in enumerate(grid.rows, start=1)
            for column, cell in enumerate(row, start=1)
        }
        drawn: list[Path] = []
        try:
            for file, cell in cells.items():
                drawn += _draw(generate, cell, [file])
        finally:
            if drawn:
                save_grid(grid, request, list(cells), target)
    return [target] if is_file else [target, *cells]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m inference", description="Make pictures with trained concepts.")
    parser.add_argument("--concept", action="append", default=[], metavar="RUN_DIR|HUB_ID[:FILE][=WEIGHT]")
    parser.add_argument("--base", help="base model; default: the one that the first concept was trained on")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--seed", type=int, help="default: a new one")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--scheduler", choices=SCHEDULERS)
    parser.add_argument("--width", type=int, help="default: as trained")
    parser.add_argument("--height", type=int, help="default: as trained")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--init-image", type=Path)
    parser.add_argument("--strength", type=float, default=0.6)
    settings = ", ".join(Varied)
    parser.add_argument("--across", metavar="SETTING=VALUE,...", help=f"draw a grid; SETTING is one of {settings}")
    parser.add_argument("--down", metavar="SETTING=VALUE,...", help="a second setting, for the grid's rows")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png|DIR")
    return parser


def _request(options: argparse.Namespace) -> PictureRequest:
    choices = [_concept_argument(text, options) for text in options.concept]
    uses = use_each(choices) if _varies_concept(options) else use_together(choices)
    first = open_concept(uses[0].folder).manifest if uses else None
    base = options.base or (first.base.name if first else STARTER)
    own = first.base if first and not options.base else None
    prediction = own.prediction if own else None
    if own and any(open_concept(use.folder).is_whole_model for use in uses):  # it needs no base, which may be gone
        is_starter = base == STARTER
    else:
        is_starter = find_base(base, prediction=prediction).folder == STARTER_FOLDER
    made_for = first.resolution_px if first else _traits(find_base(base), options.settings.cache_dir).resolution_px
    values: dict[str, object] = {
        **sampler_values(starter=is_starter),
        "prompt": options.prompt,
        "negative_prompt": options.negative_prompt,
        "base": base,
        "base_revision": own.revision if own else None,
        "base_prediction": prediction,
        "concepts": uses,
        "seed": secrets.randbelow(2**32) if options.seed is None else options.seed,
        "width": options.width or made_for,
        "height": options.height or made_for,
        "count": options.count,
        "init_image": options.init_image,
        "strength": options.strength,
    }
    chosen = {name: getattr(options, name) for name in ("steps", "guidance", "scheduler")}
    return build_request(values | {name: value for name, value in chosen.items() if value is not None})


def _traits(base: BaseReference, cache: Path) -> BaseTraits:
    """What the base is made for; one of the Hub is fetched, for it is needed anyway."""
    if not base.on_hub:
        return inspect_local(base)
    from trainer.engine.base.files import base_folder  # noqa: PLC0415 - the engine brings torch

    return inspect_base(base_folder(base, cache))


def _varies_concept(options: argparse.Namespace) -> bool:
    return any((side or "").partition("=")[0] == Varied.concept for side in (options.across, options.down))


def _grid(options: argparse.Namespace, request: PictureRequest) -> Grid | None:
    """The grid that is asked for, if one is. Raises RequestError for one that cannot be drawn."""
    if not options.across:
        if options.down:
            raise RequestError("--down is a grid's second setting; give the first one with --across.")
        return None
    if request.count > 1:
        raise RequestError("A grid draws one picture for each of its places; leave --count out.")
    across = _axis(options.across, request)
    return build_grid(request, GridSettings(across=across, down=_axis(options.down, request) if options.down else None))


def _axis(text: str, request: PictureRequest) -> Axis:
    """`SETTING=VALUE,VALUE...`"""
    setting, _, values = text.partition("=")
    return read_axis(setting, values, request)


def _concept_argument(text: str, options: argparse.Namespace) -> tuple[Path, float]:
    """`RUN_DIR` or `HUB_ID`, or either with `=WEIGHT`."""
    source, separator, weight = text.rpartition("=")
    if not separator or Path(text).exists():
        return _concept_folder(text, options), 1.0
    try:
        value = float(weight)
    except ValueError:
        raise RequestError(f"{weight!r} is not a weight; write RUN_DIR=0.8") from None
    return _concept_folder(source, options), value


def _concept_folder(source: str, options: argparse.Namespace) -> Path:
    """A folder as it is; what the Hub has is taken in first."""
    if Path(source).exists() or not HUB_ID.fullmatch(source.partition(":")[0]):
        return Path(source)
    from trainer.engine.imports.cached import cached_concept  # noqa: PLC0415 - the engine brings torch

    return cached_concept(source, options.base, options.settings.cache_dir, lambda line: print(line, file=sys.stderr))


def _target_files(out: Path, request: PictureRequest) -> list[Path]:
    """Where each picture goes: one .png file, or SEED.png in a folder."""
    if out.suffix.lower() == ".png":
        if request.count > 1:
            return [out.with_stem(f"{out.stem}-{number}") for number in range(request.count)]
        return [out]
    return [out / f"{seed}.png" for seed in request.seeds]


def _check_files(files: list[Path], request: PictureRequest) -> None:
    """Raise RequestError, before a model is loaded, for a picture that is not there or files that cannot be written."""
    if request.init_image is not None and not request.init_image.is_file():
        raise RequestError(f"There is no picture {request.init_image}.")
    folder = files[0].parent if files[0].suffix.lower() == ".png" else files[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise RequestError(f"Pictures cannot be written to {folder} ({error.strerror}).") from error


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends a service means the same as Ctrl-C
    leave(main())

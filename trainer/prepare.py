"""Makes a run folder from photos and a recipe: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trainer.disk_need import check_disk
from trainer.errors import RequestError
from trainer.photos.checkup import SetVerdict
from trainer.photos.intake import PhotoSet
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder
from trainer.whole_files import written_aside


def prepare_run(root: Path, recipe: TrainConfig, take_photos: Callable[[Path], PhotoSet]) -> tuple[RunFolder, PhotoSet]:
    """A run folder with config.json and cleaned photos; `take_photos` fills the folder that it is given.

    Raises RequestError, leaving nothing behind, where the folder is not empty, the photos cannot be used or the disk
    would become full.
    """
    with new_run_folder(root) as run:
        check_disk(recipe, root.parent)
        photo_set = take_photos(run.photos)
        if photo_set.report.verdict is SetVerdict.not_usable:
            raise RequestError(" ".join(["These photos cannot be used.", *photo_set.report.reasons]))
        run.write_recipe(recipe)
    return RunFolder(root), photo_set


def check_is_free(root: Path) -> None:
    """Raise RequestError where something lies in the way of a new run."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RequestError(f"{root} is not empty; choose a new folder for the run, or resume it.")
    if root.is_symlink() or root.is_mount() or root.resolve() == Path.cwd():
        raise RequestError(f"{root} cannot be replaced by the run's folder; name one inside it.")


@contextmanager
def new_run_folder(root: Path) -> Generator[RunFolder]:
    """A folder beside `root` that takes its place when the block ends well.

    Raises RequestError where something lies in the way of a new run, or the folder cannot be made.
    """
    check_is_free(root)
    with ExitStack() as stack:
        try:
            aside = stack.enter_context(written_aside(root))
        except OSError as error:
            raise RequestError(f"{root} cannot be made: {root.parent} cannot be written.") from error
        yield RunFolder(aside)

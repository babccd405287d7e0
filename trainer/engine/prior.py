"""Class pictures for prior preservation: the user's own, or generated once for base, prompt and sampler, and shared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from trainer.bases import BaseTraits
from trainer.concept import with_article
from trainer.engine.cache import Counted
from trainer.engine.families import Family
from trainer.engine.sampling import MAX_BATCH, Prompts, SamplerSettings, sample
from trainer.errors import PhotoError, TrainingError
from trainer.photos.decode import decode_photo
from trainer.photos.intake import files_of_folder
from trainer.recipe.config import DreamBoothLoraRecipe, DreamBoothRecipe
from trainer.recipe.presets import sampler_values
from trainer.whole_files import opened_whole

MAX_OWN = 1000
"""As many as can be generated; somebody's whole collection would take hours to read."""
_EDITION = 2
"""Of how they are drawn; a higher one makes those in the cache anew."""


def class_prompt(class_word: str) -> str:
    """What class pictures show."""
    return f"a photo of {with_article(class_word)}"


def class_pictures(
    recipe: DreamBoothLoraRecipe | DreamBoothRecipe,
    family: Family,
    traits: BaseTraits,
    cache: Path,
    counted: Counted,
    between: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Files of the class pictures to train with, generating those that the cache does not hold yet.

    `between` is called after every call of the denoiser, and may raise to stop: on a CPU a batch takes minutes.
    `family` must be the untouched base. Raises TrainingError where the user's own folder holds no usable picture.
    """
    if recipe.class_images_dir is not None:
        return _own_pictures(recipe.class_images_dir, counted)
    prompt = class_prompt(recipe.class_word)
    sampler = SamplerSettings(**sampler_values(starter=traits.starter))
    folder = cache / "class-images" / _key(traits, prompt, recipe.resolution_px, sampler)
    files = [folder / f"{number:04d}.png" for number in range(recipe.class_images)]
    missing = [number for number, file in enumerate(files) if not _is_whole(file)]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        prompts = Prompts(family.encode_prompts([prompt]), family.unconditional())
        size = (recipe.resolution_px, recipe.resolution_px)
        for begin in range(0, len(missing), MAX_BATCH):
            numbers = missing[begin : begin + MAX_BATCH]
            pictures = sample(
                family, prompts, seeds=numbers, size=size, sampler=sampler, step_done=lambda _done, _total: between()
            )
            for number, picture in zip(numbers, pictures, strict=True):
                with opened_whole(files[number]) as whole:
                    picture.save(whole, "PNG")
            counted(len(files) - len(missing) + begin + len(numbers), len(files))
    return files


def _key(traits: BaseTraits, prompt: str, resolution_px: int, sampler: SamplerSettings) -> str:
    described = [_EDITION, traits.identity, prompt, resolution_px, sampler.steps, sampler.guidance, sampler.scheduler]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:24]


def _own_pictures(folder: Path, counted: Counted) -> list[Path]:
    """The usable pictures of a folder, of its first MAX_OWN files."""
    found, files = files_of_folder(folder)[:MAX_OWN], []
    for number, file in enumerate(found, start=1):
        counted(number, len(found))
        try:
            decode_photo(file)
        except PhotoError:
            continue
        files.append(file)
    if not files:
        raise TrainingError(f"{folder} holds no usable class picture.", "Add some, or leave class_images_dir empty.")
    return files


def _is_whole(file: Path) -> bool:
    """A picture that a power loss or a bad disk spoilt is made again; it would end every run that shares it.

    Its checksums are compared; decoding it here, too, would be felt, as that is done again to encode it.
    """
    try:
        with Image.open(file) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True

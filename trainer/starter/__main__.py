"""`python -m trainer.starter`: rebuild the starter model from its pictures, in resumable stages.

`--examples` writes the example photos instead.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch

import trainer.engine  # noqa: F401 - quietens the libraries
from trainer.bases import EXAMPLES_FOLDER, STARTER_FOLDER
from trainer.machine.devices import usable_cores
from trainer.photos.colours import COLOURS
from trainer.starter import autoencoder, denoiser
from trainer.starter.autoencoder import AutoencoderPlan, Crops, train_autoencoder
from trainer.starter.denoiser import DenoiserPlan, train_denoiser
from trainer.starter.examples import write_examples
from trainer.starter.export import export_starter
from trainer.starter.latents import build_latents
from trainer.starter.looks import Sprites
from trainer.starter.pictures import compose_parts, parts_of, read_pictures
from trainer.starter.published import adopt_tokenizer, load_autoencoder
from trainer.starter.scenes import FILLERS, PHOTO, STYLES, Composer
from trainer.starter.sources import Thing, fetch_photos, load_sprites, load_things
from trainer.starter.stages import denoiser_key, pictures_key, weights_key
from trainer.starter.textures import build_textures, photo_crop
from trainer.starter.tokenizer import build_tokenizer

STAGES = ("pictures", "autoencoder", "latents", "denoiser", "export")
GLUE = "a an the my one of on in next to background picture style close up photo with and"
PROMPT_TOKENS = 40  # half of CLIP's 77: captions are short, and every place costs time in each attention layer
SURFACES = 1500
AUTOENCODERS_PARTS = 16  # of the pictures


@dataclass(frozen=True)
class Recipe:
    """How much of everything, by device: the figures' reasons are in tests/benchmarks/RESULTS.md."""

    autoencoder: AutoencoderPlan
    denoiser: DenoiserPlan
    pictures: int
    photo_crops: int
    more_things: bool


ON = {
    "cpu": Recipe(AutoencoderPlan(), DenoiserPlan(), pictures=36_864, photo_crops=1024, more_things=False),
    "cuda": Recipe(autoencoder.ON_GPU, denoiser.ON_GPU, pictures=163_840, photo_crops=4096, more_things=True),
}


def caption_words(things: list[Thing]) -> list[str]:
    """Every word that captions use, and the words of the app's own templates."""
    taught = [w for t in things if not t.held_out for w in (*t.noun.split(), *t.category.split())]
    templates = "rendering cropped portrait face painting detail good bright woman pet object animal person"
    return [*GLUE.split(), *COLOURS, *FILLERS, PHOTO, *" ".join(STYLES).split(), *templates.split(), *taught]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer.starter", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter"), help="where pictures and savepoints are kept")
    parser.add_argument("--out", type=Path, default=STARTER_FOLDER)
    parser.add_argument(
        "--start-from", type=Path, metavar="STARTER", help="go on from a starter's weights; keep its autoencoder"
    )
    parser.add_argument("--examples", action="store_true", help="write the example photos, train nothing")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1])
    parser.add_argument("--device", choices=[*ON], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--autoencoder-steps", type=int)
    parser.add_argument("--denoiser-steps", type=int)
    parser.add_argument("--half-size-steps", type=int)
    parser.add_argument("--cooldown", type=int)
    parser.add_argument("--learning-rate", type=float, help="of the denoiser")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that train the denoiser together on a CPU")
    return parser.parse_args()


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The device's recipe with what the command line changes."""
    recipe = ON[options.device]
    changed = {
        "steps": options.denoiser_steps,
        "half_size": options.half_size_steps,
        "cooldown": options.cooldown,
        "learning_rate": options.learning_rate,
        "workers": options.workers,
    }
    return replace(
        recipe,
        pictures=options.pictures or recipe.pictures,
        autoencoder=replace(recipe.autoencoder, steps=options.autoencoder_steps or recipe.autoencoder.steps),
        denoiser=replace(recipe.denoiser, **{field: value for field, value in changed.items() if value is not None}),
    )


class Material:
    """What the pictures are made of; loaded or made when it is first needed."""

    def __init__(self, work: Path, *, more_things: bool) -> None:
        self._work = work
        self.things = load_things(more=more_things)

    @cached_property
    def photos(self) -> list[np.ndarray]:
        return fetch_photos(self._work)

    @cached_property
    def sprites(self) -> Sprites:
        return load_sprites(self._work, self.things)

    @cached_property
    def surfaces(self) -> np.ndarray:
        return build_textures(np.random.default_rng(7), self.photos, SURFACES)

    def composer(self) -> Composer:
        return Composer([t for t in self.things if not t.held_out], self.sprites, self.surfaces)

    def crops(self, parts: list[Path], photo_crops: int, device: torch.device) -> Crops:
        scenes = np.concatenate([read_pictures(part) for part in parts])
        rng = np.random.default_rng(8)
        photos = np.stack([photo_crop(rng, self.photos) for _ in range(photo_crops)])
        return Crops(scenes, self.surfaces, photos, device)


def build_starter(material: Material, recipe: Recipe, options: argparse.Namespace) -> None:
    """Run the stages up to the one that is asked for."""
    work, device = options.work, torch.device(options.device)
    pictures = pictures_key(material.things, SURFACES)
    parts = parts_of(work / f"pictures-{pictures}", recipe.pictures)
    if missing := [part for part in parts if not part.exists()]:
        compose_parts(material.composer(), missing, processes=usable_cores())
    if options.until == "pictures":
        return
    start: Path | None = options.start_from
    if start is not None:
        vae = load_autoencoder(start, device)
        tokenizer = adopt_tokenizer(start, work / "tokenizer", max_tokens=PROMPT_TOKENS)
    else:
        crops = cache(partial(material.crops, parts[:AUTOENCODERS_PARTS], recipe.photo_crops, device))
        vae = train_autoencoder(crops, work, recipe.autoencoder, device)
        tokenizer = build_tokenizer(caption_words(material.things), work / "tokenizer", max_tokens=PROMPT_TOKENS)
    if options.until == "autoencoder":
        return
    bank = build_latents(vae, parts, work / f"latents-{pictures}-{weights_key(vae)}")
    if options.until == "latents":
        return
    run = work / f"denoiser-{denoiser_key(vae, tokenizer, options.device)}"
    model = train_denoiser(bank, tokenizer, run, recipe.denoiser, start=start, device=device)
    if options.until == "export":
        export_starter(vae, bank.scaling_factor, model, work / "tokenizer", options.out)


def main() -> int:
    """Build what is asked for."""
    options = read_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    recipe = recipe_of(options)
    material = Material(options.work, more_things=recipe.more_things)
    if options.examples:
        write_examples(material.sprites, material.photos, EXAMPLES_FOLDER)
    else:
        build_starter(material, recipe, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())

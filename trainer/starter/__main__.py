"""`python -m trainer.starter`: rebuild the starter model from its pictures, in four resumable stages.

`--examples` writes the example photos instead.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
import torch

import trainer.engine  # noqa: F401 - quietens the libraries
from trainer.bases import EXAMPLES_FOLDER, STARTER_FOLDER
from trainer.starter.autoencoder import AutoencoderPlan, CropSource, train_autoencoder
from trainer.starter.denoiser import DenoiserPlan, train_denoiser
from trainer.starter.examples import write_examples
from trainer.starter.export import export_starter
from trainer.starter.latents import build_latents
from trainer.starter.published import adopt_tokenizer, load_autoencoder
from trainer.starter.scenes import COLOURS, FILLERS, PHOTO, STYLES, Composer
from trainer.starter.sources import fetch_photos, load_sprites, load_things
from trainer.starter.textures import build_textures
from trainer.starter.tokenizer import build_tokenizer

GLUE = "a an the my one of on in next to background picture style close up photo with and"
PROMPT_TOKENS = 40  # half of CLIP's 77: captions are short, and every place costs time in each attention layer
TEXTURES = 300
PICTURES = 28_672


def caption_words() -> list[str]:
    """Every word that captions use, and the words of the app's own templates."""
    things = load_things()
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
    parser.add_argument("--until", choices=["autoencoder", "latents", "denoiser", "export"], default="export")
    parser.add_argument("--autoencoder-steps", type=int, default=AutoencoderPlan().steps)
    parser.add_argument("--denoiser-steps", type=int, default=DenoiserPlan().steps)
    parser.add_argument("--half-size-steps", type=int, default=DenoiserPlan().half_size)
    parser.add_argument("--cooldown", type=int, default=DenoiserPlan().cooldown)
    parser.add_argument("--learning-rate", type=float, default=DenoiserPlan().learning_rate, help="of the denoiser")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that train the denoiser together")
    return parser.parse_args()


def main() -> int:
    """Run the stages up to the one that is asked for."""
    options = read_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    work = options.work
    work.mkdir(parents=True, exist_ok=True)

    things = load_things()
    photos = fetch_photos(work)
    sprites = load_sprites(work, things)
    if options.examples:
        write_examples(sprites, photos, EXAMPLES_FOLDER)
        return 0
    textures = build_textures(np.random.default_rng(7), photos, TEXTURES)
    composer = Composer([t for t in things if not t.held_out], sprites, textures)
    start: Path | None = options.start_from
    if start is not None:
        vae = load_autoencoder(start)
        tokenizer = adopt_tokenizer(start, work / "tokenizer", max_tokens=PROMPT_TOKENS)
    else:
        vae_plan = AutoencoderPlan(steps=options.autoencoder_steps)
        vae = train_autoencoder(CropSource(composer, textures, photos), work, vae_plan)
        tokenizer = build_tokenizer(caption_words(), work / "tokenizer", max_tokens=PROMPT_TOKENS)
    if options.until == "autoencoder":
        return 0
    bank = build_latents(vae, composer, work / "latents", PICTURES)
    if options.until == "latents":
        return 0
    plan = DenoiserPlan(
        options.denoiser_steps,
        options.half_size_steps,
        options.cooldown,
        learning_rate=options.learning_rate,
        workers=options.workers,
    )
    model = train_denoiser(bank, tokenizer, work, plan, start=start)
    if options.until == "export":
        export_starter(vae, bank.scaling_factor, model, work / "tokenizer", options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

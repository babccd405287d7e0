"""How well a base draws what it was taught: colours of backgrounds, named things, and its autoencoder on photos.

Each figure on drawn pictures stands beside the same figure on pictures that were composed from the teaching material
for the same prompts: what the measure itself can reach.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.benchmarks.learning.colours import background_obeys
from tests.benchmarks.learning.exam import with_article
from tests.benchmarks.learning.features import FeatureSpace, square
from tests.benchmarks.learning.files import write_json, write_whole
from tests.benchmarks.learning.measures import likeness, mean_cosine, mean_other_cosine
from tests.benchmarks.learning.painter import Painter
from tests.benchmarks.learning.photo_folders import read_photo_folders
from tests.benchmarks.learning.retrieval import References, on_plain, sprite_references, top_share
from tests.benchmarks.learning.scenery import Pose
from tests.benchmarks.learning.sheets import write_grid, write_sheet
from trainer.bases import inspect_base
from trainer.engine.families import Family, open_family
from trainer.engine.sampling import picture_to_tensor
from trainer.photos.colours import COLOURS
from trainer.starter.looks import Sprites
from trainer.starter.scenes import STYLES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One prompt of the report; `tint` is the colour asked for the thing itself, or none."""

    noun: str
    style: str
    colour: str
    seed: int
    tint: str | None = None

    @property
    def prompt(self) -> str:
        thing = f"{self.tint} {self.noun}" if self.tint else self.noun
        return f"a {self.style} of {with_article(thing)} on {with_article(self.colour)} background"


def plan_prompts(nouns: list[str], count: int, *, seed: int = 0, tinted: bool = False) -> list[Asked]:
    """`count` prompts that go through shuffled things, the styles and the colours in turn; the same every time."""
    rng = np.random.default_rng((7, seed, tinted))
    order = [str(noun) for _ in range(-(-count // len(nouns))) for noun in rng.permutation(nouns)][:count]
    colours, asked = list(COLOURS), []
    for number, noun in enumerate(order):
        colour = colours[number % len(colours)]
        others = [c for c in colours if c != colour]
        tint = others[int(rng.integers(len(others)))] if tinted else None
        asked.append(Asked(noun, STYLES[number % len(STYLES)], colour, seed=1000 + number, tint=tint))
    return asked


@dataclass(frozen=True)
class Source:
    """Where the report takes its pictures from and puts them."""

    base: Path
    sprites: Sprites
    nouns: list[str]
    space: FeatureSpace
    out: Path


def report_starter(
    source: Source, *, count: int, photos: Path | None, sampler_steps: int | None = None
) -> dict[str, Any]:
    """Draw, measure, and write starter.json, starter.md and two contact sheets; returns what starter.json says."""
    identity = inspect_base(source.base).identity
    painter = Painter(source.base, sampler_steps=sampler_steps)
    keep = source.out / "starter-pictures" / identity
    references = sprite_references(source.sprites, source.nouns, source.space)
    asked = plan_prompts(source.nouns, count)
    combined = plan_prompts(source.nouns, max(1, count // 8), tinted=True)
    figures: dict[str, Any] = {"base": identity, "things": len(source.nouns)}
    for name, prompts in (("prompts", asked), ("in other colours", combined)):
        drawn = []
        for number, one in enumerate(prompts):
            drawn += painter.draw(one.prompt, [one.seed], keep)
            if number % 20 == 19:
                log.info("%s: %d of %d drawn", name, number + 1, len(prompts))
        figures[name] = _measure(prompts, drawn, references, source.space)
        labelled = [
            (f"{one.tint or ''} {one.noun} {one.colour}".strip(), p) for one, p in zip(prompts, drawn, strict=True)
        ]
        write_grid(source.out / f"starter-{name.replace(' ', '-')}.png", labelled, columns=16)
    ceiling = [_composed(one, source.sprites) for one in asked]
    family = open_family(source.base, device=torch.device("cpu"), dtype=torch.float32)
    figures["composed"] = _measure(asked, ceiling, references, source.space)
    through = [_reconstructed(family, picture) for picture in ceiling]
    figures["composed, through the autoencoder"] = _measure(asked, through, references, source.space)
    if photos is not None:
        figures["autoencoder"] = _measure_autoencoder(source, family, photos)
    write_json(source.out / "starter.json", figures)
    text = describe(figures)
    write_whole(source.out / "starter.md", lambda aside: aside.write_text(text, encoding="utf-8"))
    return figures


def _measure(
    asked: list[Asked], pictures: list[Image.Image], references: References, space: FeatureSpace
) -> dict[str, Any]:
    rankings = references.ranking(space.of(pictures))
    wanted = [one.noun for one in asked]
    obeyed = [background_obeys(p, one.colour) for p, one in zip(pictures, asked, strict=True)]
    by_colour = {c: _share([o for o, one in zip(obeyed, asked, strict=True) if one.colour == c]) for c in COLOURS}
    by_style = {
        s: _share([r.index(one.noun) < 5 for r, one in zip(rankings, asked, strict=True) if one.style == s])
        for s in STYLES
    }
    rows = [
        {**asdict(one), "background": bool(o), "rank": r.index(one.noun) + 1}
        for one, o, r in zip(asked, obeyed, rankings, strict=True)
    ]
    return {
        "pictures": len(asked),
        "background": _share(obeyed),
        "top 1": top_share(rankings, wanted, 1),
        "top 5": top_share(rankings, wanted, 5),
        "background by colour": by_colour,
        "top 5 by style": by_style,
        "each": rows,
    }


def _share(hits: list[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _composed(one: Asked, sprites: Sprites) -> Image.Image:
    """What the teaching material itself shows for a prompt, in another pose than the reference."""
    rng = np.random.default_rng((8, one.seed))
    drawings = sprites[one.noun][one.style]
    pose = Pose(
        side=float(rng.uniform(0.62, 0.92)),
        centre=(float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.45, 0.55))),
        angle_deg=float(rng.normal(0, 6)),
        mirrored=bool(rng.random() < 0.5),
    )
    return on_plain(drawings[int(rng.integers(len(drawings)))], one.colour, pose)


def _reconstructed(family: Family, picture: Image.Image) -> Image.Image:
    return family.decode(family.encode_pictures(picture_to_tensor(picture)[None]).mean)[0]


def _measure_autoencoder(source: Source, family: Family, photos: Path) -> dict[str, Any]:
    """Likeness of each photo's reconstruction to the subject's other photos; 0 is another subject's photos, 1 the
    subject's own."""
    folders = read_photo_folders(photos)
    real = {name: source.space.of(pictures) for name, pictures in folders.items()}
    subjects: dict[str, float] = {}
    rows = []
    for name, pictures in folders.items():
        small = [square(p) for p in pictures]
        made = [_reconstructed(family, p) for p in small]
        rows.append((name, [p for pair in zip(small, made, strict=True) for p in pair]))
        others = torch.cat([vectors for other, vectors in real.items() if other != name])
        subjects[name] = likeness(
            mean_other_cosine(source.space.of(made), real[name]),
            among_own=mean_other_cosine(real[name], real[name]),
            of_others=mean_cosine(others, real[name]),
        )
    write_sheet(source.out / "starter-autoencoder.png", rows)
    return {"median": float(np.median(list(subjects.values()))), "subjects": subjects}


def describe(figures: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        f"Base {figures['base']}, {figures['things']} things taught.",
        "",
        "| pictures | number | background as asked | thing nearest | thing among the nearest 5 |",
        "|---|---|---|---|---|",
    ]
    for name in ("prompts", "in other colours", "composed", "composed, through the autoencoder"):
        f = figures[name]
        lines.append(f"| {name} | {f['pictures']} | {f['background']:.1%} | {f['top 1']:.1%} | {f['top 5']:.1%} |")
    drawn = figures["prompts"]
    lines += ["", _listed("Background as asked, by colour", drawn["background by colour"])]
    lines += ["", _listed("Among the nearest 5, by style", drawn["top 5 by style"])]
    if autoencoder := figures.get("autoencoder"):
        each = ", ".join(f"{name} {value:.2f}" for name, value in autoencoder["subjects"].items())
        lines += ["", f"Likeness of the autoencoder's reconstructions: median {autoencoder['median']:.2f} ({each})."]
    return "\n".join(lines) + "\n"


def _listed(title: str, shares: dict[str, float | None]) -> str:
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share is not None)
    return f"{title}: {said}."

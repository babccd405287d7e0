"""Carries out one cell: train, draw the exam, mark it, write the result. Each part is kept as soon as it is done."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from tests.benchmarks.learning.exam import Exam, Shot, exam_of
from tests.benchmarks.learning.features import FeatureSpace, LiteFeatures
from tests.benchmarks.learning.files import read_json, write_json
from tests.benchmarks.learning.ledger import TRAINED_FILE, Ledger
from tests.benchmarks.learning.marking import Draw, mark
from tests.benchmarks.learning.ours import train_ours
from tests.benchmarks.learning.painter import Learnt, Painter
from tests.benchmarks.learning.peers import train_theirs
from tests.benchmarks.learning.plan import Cell, Pace, Side
from tests.benchmarks.learning.sheets import write_sheet
from tests.benchmarks.learning.subjects import Subject, read_subjects
from tests.benchmarks.learning.training import Trained
from trainer.concept import ConceptWords

SHEET_FILE = "sheet.png"


@dataclass(frozen=True)
class Bench:
    """Where a run works: `folder` and `measured` (see the ledger) are of one base, `checkout` of huggingface/diffusers.

    `sampler_steps` overrides how many denoiser calls a picture takes; `space` is Lite0's unless a test brings its own.
    """

    base: Path
    folder: Path
    measured: Path
    checkout: Path | None = None
    sampler_steps: int | None = None
    space: FeatureSpace | None = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder, self.measured)

    @property
    def subjects(self) -> Path:
        return self.folder / "subjects"

    @property
    def features(self) -> FeatureSpace:
        return self.space or LiteFeatures(self.folder / "features")

    def draw_base(self, painter: Painter, shot: Shot) -> list[Image.Image]:
        """The base's own pictures, shared by all cells."""
        return painter.draw(shot.prompt, shot.seeds, self.folder / "base-pictures")


def run_cell(bench: Bench, cell: Cell) -> None:
    """Train and examine; does again only what is missing. Raises TrainingFailed."""
    subjects = read_subjects(bench.subjects)
    subject = subjects[cell.subject]
    place = bench.ledger.place(cell)
    trained = _trained(bench, cell, subject, place)
    exam = exam_of(subject.kind, subject.class_word, subject.things)
    painter = Painter(bench.base, trained.learnt, sampler_steps=bench.sampler_steps)
    base_painter = Painter(bench.base, sampler_steps=bench.sampler_steps)

    def draw(shot: Shot) -> list[Image.Image]:
        return painter.draw(shot.prompt, shot.seeds, place / "pictures")

    others = [s for s in subjects.values() if s.name != subject.name]
    strangers = [s for s in others if s.group == subject.group] or others
    figures = mark(subject, strangers, exam, draw, partial(bench.draw_base, base_painter), bench.features)
    _write_exam_sheet(place / SHEET_FILE, subject, exam, draw)
    bench.ledger.finish(
        cell,
        {
            **{name: getattr(cell, name) for name in ("subject", "method", "side", "pace", "seed")},
            "group": subject.group,
            "values": dict(cell.values),
            **asdict(figures),
            "prompt_following": figures.prompt_following,
            **_described(trained),
        },
    )
    shutil.rmtree(place / "run", ignore_errors=True)  # the pictures stay; weights would fill the disk


def _trained(bench: Bench, cell: Cell, subject: Subject, place: Path) -> Trained:
    """The cell's training, done now unless it was done before."""
    if (place / TRAINED_FILE).exists():
        return _remembered(read_json(place / TRAINED_FILE), place, cell)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    train: Any = train_ours
    values = dict(cell.values)
    if cell.side is Side.theirs:
        if bench.checkout is None:
            raise LookupError("The scripts' side needs --diffusers, the path of a checkout.")
        train = partial(train_theirs, checkout=bench.checkout)
    if cell.pace is not Pace.equal_steps:
        values["steps"] = _steps_in_time(bench.ledger, cell)
    trained: Trained = train(subject, cell.method, cell.seed, values, base=bench.base, place=place)
    folder = trained.learnt.folder.relative_to(place)
    words = {"class_word": trained.learnt.words.class_word, "vectors": trained.learnt.words.vectors}
    described = {**_described(trained), "folder": str(folder), "name": trained.learnt.words.name, **words}
    write_json(place / TRAINED_FILE, described)
    for left in ("home", "class-pictures"):
        shutil.rmtree(place / left, ignore_errors=True)
    return trained


def _described(trained: Trained) -> dict[str, Any]:
    return {"steps": trained.steps, "seconds": trained.seconds, "cost_s": trained.cost_s, "said": dict(trained.said)}


def _remembered(values: dict[str, Any], place: Path, cell: Cell) -> Trained:
    words = ConceptWords(values["name"], cell.method, values["class_word"], values["vectors"])
    learnt = Learnt(place / values["folder"], words)
    return Trained(learnt, values["steps"], values["seconds"], values["cost_s"], values["said"])


def _steps_in_time(ledger: Ledger, cell: Cell) -> int:
    """How many of a side's steps fit into the time that the other's training took, from its own run at equal steps."""
    own = ledger.result(replace(cell, pace=Pace.equal_steps, rival=None))
    rival = ledger.result(cell.rival) if cell.rival else None
    if own is None or rival is None:
        raise LookupError(f"{cell.key} needs both sides' runs at equal steps")
    share = 0.5 if cell.pace is Pace.half_time else 1.0
    return max(1, round(own["steps"] * share * rival["cost_s"] / own["cost_s"]))


def _write_exam_sheet(file: Path, subject: Subject, exam: Exam, draw: Draw) -> None:
    """Real pictures, then one row for what is drawn together: of the concept, without it, for every question."""
    rows = [("real, trained on", subject.train()), ("real, compared with", subject.compare())]
    rows += [(shot.prompt, draw(shot)) for shot in (*exam.own, *exam.without)]
    asked = {"background": exam.backgrounds} if exam.backgrounds else {}
    asked |= {name: {option.answer: option.shot for option in options} for name, options in exam.questions.items()}
    for name, shots in asked.items():
        rows.append((f"{name}: {', '.join(shots)}", [p for shot in shots.values() for p in draw(shot)]))
    write_sheet(file, rows, side_px=96)

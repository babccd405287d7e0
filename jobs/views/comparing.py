"""Two jobs side by side: the same facts about each, and their previews in pairs of one prompt and one seed.

It only reads. What a side does not have yet is left open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from jobs.record.store import Job
from jobs.runs.progress import Progress
from jobs.views.outlook import JobView
from trainer.artifact import read_manifest
from trainer.concept import preview_prompt, preview_seeds
from trainer.errors import ConceptError, RequestError
from trainer.photos.intake import read_dataset
from trainer.quantities import duration, file_size
from trainer.recipe.config import TrainConfig
from trainer.run_folder import RunFolder

_RECENT_LOSSES = 10


@dataclass(frozen=True)
class Figures:
    """What is known of one job in numbers; None where it is not known, or not yet. Times are in seconds."""

    step: int
    steps: int
    knows_subject: float | None
    changed_elsewhere: float | None
    artifact_bytes: int | None
    trained_parameters: int | None
    loss: float | None
    """The mean of the newest reports."""
    trained_s: float | None
    waited_s: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class Shot:
    """A preview picture: its step, how far the training was, 0 to 1, and its file in the run folder."""

    step: int
    share: float
    file: str


@dataclass(frozen=True)
class Side:
    """One of the two jobs."""

    job: Job
    progress: Progress
    figures: Figures
    recipe: TrainConfig | None
    """None for a concept that was not trained here."""
    photos: frozenset[int] | None
    """Fingerprints of the photos; None where they are gone."""
    thumbnails: tuple[str, ...]
    """Files of the run folder that show the photos small, as far as there are any."""

    def shots(self, number: int) -> tuple[Shot, ...]:
        """The previews with the seed of this number, by step."""
        total = max(1, self.job.steps)
        return tuple(
            Shot(step, step / total, files[number])
            for step, files in sorted(self.progress.previews.items())
            if number < len(files)
        )


@dataclass(frozen=True)
class Fact:
    """A line of the table, in words; None where a side has nothing to say."""

    label: str
    left: str | None
    right: str | None
    note: str = ""


@dataclass(frozen=True)
class PreviewPair:
    """Pictures of both sides with the same prompt and seed, as far as there are any."""

    prompt: str
    seed: int
    left: tuple[Shot, ...]
    right: tuple[Shot, ...]


@dataclass(frozen=True)
class SideBySide:
    """Everything that a comparison shows. `notes` say where the two cannot be compared."""

    left: Side
    right: Side
    facts: list[Fact]
    previews: list[PreviewPair]
    notes: list[str]

    @property
    def has_scores(self) -> bool:
        return any(side.figures.knows_subject is not None for side in (self.left, self.right))

    @property
    def shown_photos(self) -> list[Side]:
        """Whose photos there are to see: both sides' where they differ, else one side's for both."""
        having = [side for side in (self.left, self.right) if side.thumbnails]
        return having[:1] if self.left.photos == self.right.photos else having

    @property
    def shares(self) -> list[float]:
        """How far the training was at each preview of either side, in order."""
        shots = (shot for pair in self.previews for shot in (*pair.left, *pair.right))
        return sorted({round(shot.share, 4) for shot in shots})


def side_by_side(left: JobView, right: JobView, run_folder: Callable[[str], RunFolder]) -> SideBySide:
    """Compare two jobs as they stand now."""
    sides = _side(left, run_folder(left.job.id)), _side(right, run_folder(right.job.id))
    previews = _pairs(*sides)
    return SideBySide(*sides, _facts(*sides), previews, _notes(*sides, paired=bool(previews)))


def _side(view: JobView, run: RunFolder) -> Side:
    try:
        recipe = run.read_recipe()
    except RequestError:
        recipe = None
    try:
        photos = frozenset(photo.fingerprint for photo in read_dataset(run.photos).usable)
    except RequestError:
        photos = None
    thumbnails = tuple(file.relative_to(run.root).as_posix() for file in sorted(run.photos.glob("thumbs/*.jpg")))
    return Side(view.job, view.progress, _figures(view, run), recipe, photos, thumbnails)


def _figures(view: JobView, run: RunFolder) -> Figures:
    job, progress = view.job, view.progress
    losses = [progress.losses[step] for step in sorted(progress.losses)][-_RECENT_LOSSES:]
    measured = progress.measured
    return Figures(
        step=progress.step,
        steps=job.steps,
        knows_subject=measured.knows_subject if measured else None,
        changed_elsewhere=measured.changed_elsewhere if measured else None,
        artifact_bytes=None if job.is_open else _artifact_bytes(run),
        trained_parameters=measured.trained_parameters if measured else None,
        loss=sum(losses) / len(losses) if losses else None,
        trained_s=progress.worked_s or None,
        waited_s=progress.waited_s(job.queued),
        peak_memory_bytes=measured.peak_memory_bytes if measured else None,
    )


def _artifact_bytes(run: RunFolder) -> int | None:
    try:
        return read_manifest(run.artifact).total_bytes
    except ConceptError:
        return None


def _percent(share: float) -> str:
    """14 %, 0.3 %, 0 %."""
    return f"{share * 100:.0f} %" if abs(share) >= 0.0995 or share == 0 else f"{share * 100:.1f} %"


def _count(number: float) -> str:
    return f"{number:,}"


def _steps(figures: Figures) -> str | None:
    if not figures.steps:
        return None
    return f"{figures.steps}" if figures.step == figures.steps else f"{figures.step} of {figures.steps}"


def _facts(left: Side, right: Side) -> list[Fact]:
    """The lines that at least one side has something to say on."""
    lines: list[tuple[str, str, Callable[[Side], str | None]]] = [
        (
            "How well it knows the subject",
            "How much of the base model's error on your photos is gone. Learning them by heart counts, too.",
            partial(_said, "knows_subject", _percent),
        ),
        (
            "How much it changed everything else",
            "How far its answers to other prompts moved, on the same scale. 0 % is not at all.",
            partial(_said, "changed_elsewhere", _percent),
        ),
        ("Size of the result", "", partial(_said, "artifact_bytes", file_size)),
        ("Numbers trained", "", partial(_said, "trained_parameters", _count)),
        ("Steps", "", lambda side: _steps(side.figures)),
        (
            "Loss of late",
            "Each method has its own; it says little about which is better.",
            partial(_said, "loss", lambda loss: f"{loss:.3f}"),
        ),
        ("Time at work", "", partial(_said, "trained_s", duration)),
        ("Time in the queue", "", partial(_said, "waited_s", duration)),
        ("Most memory used", "", partial(_said, "peak_memory_bytes", file_size)),
    ]
    facts = [Fact(label, words(left), words(right), note) for label, note, words in lines]
    return [fact for fact in facts if fact.left is not None or fact.right is not None]


def _said(name: str, words: Callable[[float], str], side: Side) -> str | None:
    value = getattr(side.figures, name)
    return words(value) if value is not None else None


def _pairs(left: Side, right: Side) -> list[PreviewPair]:
    theirs = _expected(right)
    return [
        PreviewPair(prompt, seed, left.shots(number), right.shots(theirs[prompt, seed]))
        for (prompt, seed), number in _expected(left).items()
        if (prompt, seed) in theirs
    ]


def _expected(side: Side) -> dict[tuple[str, int], int]:
    """The number of each preview by its prompt, in which `<concept>` stands for any name, and its seed."""
    recipe = side.recipe
    if recipe is None or not recipe.preview_every_steps:
        return {}
    prompt = preview_prompt(recipe).replace(f"<{recipe.name}>", "<concept>")
    return {(prompt, seed): number for number, seed in enumerate(preview_seeds(recipe))}


def _notes(left: Side, right: Side, *, paired: bool) -> list[str]:
    notes: list[str] = []
    if left.job.base != right.job.base:
        notes.append("They have different base models, so the first two lines are measured on different scales.")
    if left.photos is not None and right.photos is not None and left.photos != right.photos:
        notes.append("They learnt from different photos; the first line is about each one's own.")
    if not paired:
        notes.append("Their previews have no prompt and seed in common, so none are shown in pairs.")
    return notes


def as_numbers(compared: SideBySide) -> dict[str, object]:
    """The comparison for programs."""
    sides = {
        name: {"id": side.job.id, "name": side.job.name, "method": side.job.method, "state": side.job.state.value}
        | asdict(side.figures)
        for name, side in (("left", compared.left), ("right", compared.right))
    }
    previews = [asdict(pair) for pair in compared.previews]
    return {**sides, "previews": previews, "notes": compared.notes}


def as_table(compared: SideBySide) -> str:
    """The comparison for a terminal."""
    heads = [f"{side.job.name} ({side.job.method}), {side.job.state.value}" for side in (compared.left, compared.right)]
    rows = [("", *heads), *((fact.label, fact.left or "", fact.right or "") for fact in compared.facts)]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{label:{first}}  {left:{second}}  {right}".rstrip() for label, left, right in rows]
    return "\n".join([*lines, *(f"Note: {note}" for note in compared.notes)])

"""Marks an exam: from drawn pictures and a subject's real ones to the figures of one cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from tests.benchmarks.learning import measures
from tests.benchmarks.learning.colours import background_obeys
from tests.benchmarks.learning.exam import Exam, Shot
from tests.benchmarks.learning.features import FeatureSpace, coarse
from tests.benchmarks.learning.subjects import Subject

Draw = Callable[[Shot], list[Image.Image]]
Vectors = Callable[[Sequence[Image.Image]], torch.Tensor]


@dataclass(frozen=True)
class Figures:
    """What one learnt concept reached; `asked` is the share of pictures that obeyed, question by question."""

    likeness: float
    """Not clipped, which tells trainings apart that are all nearer to other subjects than to their own."""
    likeness_coarse: float
    """The same of pictures without fine detail: how far colours and shapes are the subject's."""
    memorisation: float
    memorisation_limit: float
    copies: float
    """Share of the pictures that are over the limit: the mean hides a few copies among many other pictures."""
    diversity: float
    drift: float
    asked: dict[str, float]

    @property
    def prompt_following(self) -> float:
        """The mean over the questions."""
        return sum(self.asked.values()) / len(self.asked)


def mark(
    subject: Subject, strangers: list[Subject], exam: Exam, draw: Draw, draw_base: Draw, space: FeatureSpace
) -> Figures:
    """The figures of a concept. `draw` uses the learnt model, `draw_base` the untouched base.

    `strangers` are the other subjects of the group, whose pictures are the zero of likeness.
    """
    own = [picture for shot in exam.own for picture in draw(shot)]
    train, compare = subject.train(), subject.compare()
    others = [s.train() + s.compare() for s in strangers]
    shown = [thing for thing in subject.things for _ in range(len(own) // len(subject.things))]
    elsewhere = [thing for s in strangers for thing in (*s.trained_things, *s.things)]

    def likeness(vectors_of: Vectors) -> float:
        """Seen through `vectors_of`."""
        return measures.subject_likeness(
            vectors_of(own),
            vectors_of(compare),
            vectors_of(train),
            torch.cat([vectors_of(pictures) for pictures in others]),
            drawn_differs=_differ(shown, subject.things),
            others_differ=_differ(elsewhere, subject.things),
        )

    drawn, trained = space.of(own), space.of(train)
    without = torch.cat([space.of(draw(shot)) for shot in exam.without])
    base_without = torch.cat([space.of(draw_base(shot)) for shot in exam.without])
    limit = measures.memorisation_limit(trained, space.of(compare))
    return Figures(
        likeness=likeness(space.of),
        likeness_coarse=likeness(lambda pictures: space.of([coarse(p) for p in pictures])),
        memorisation=measures.memorisation(drawn, trained),
        memorisation_limit=limit,
        copies=measures.share_over(drawn, trained, limit),
        diversity=sum(measures.diversity(space.of(draw(shot))) for shot in exam.own) / len(exam.own),
        drift=measures.drift(without, base_without),
        asked=mark_questions(exam, draw, draw_base, space),
    )


def _differ(left: Sequence[str], right: Sequence[str]) -> torch.Tensor | None:
    """Which pairs of a style's pictures show different things, bool [left, right]; None for anything but a style.

    Real pictures of a style never show the same thing twice, so pairs that do would raise likeness for the thing.
    """
    return torch.tensor([[one != other for other in right] for one in left]) if left and right else None


def mark_questions(exam: Exam, draw: Draw, draw_base: Draw, space: FeatureSpace) -> dict[str, float]:
    """Share of pictures that show what was asked, for every question of the exam."""
    asked: dict[str, float] = {}
    if exam.backgrounds:
        seen = [background_obeys(p, colour) for colour, shot in exam.backgrounds.items() for p in draw(shot)]
        asked["background"] = sum(seen) / len(seen)
    for name, options in exam.questions.items():
        drawn = {option.answer: space.of(draw(option.shot)) for option in options}
        references = {option.answer: space.of(draw_base(option.reference)) for option in options}
        given = measures.answers(drawn, references)
        asked[name] = measures.share_right(given, [option.answer for option in options if option.counts])
    return asked


def mark_class_word(exam: Exam, words: str, draw_base: Draw, space: FeatureSpace) -> dict[str, float]:
    """What the base itself reaches on the same questions with plain words in the concept's place."""
    return mark_questions(exam, lambda shot: draw_base(shot.spelt(words)), draw_base, space)

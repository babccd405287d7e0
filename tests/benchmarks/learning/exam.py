"""What is asked of a concept once it is learnt: prompts, seeds, and what each should show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.concept import with_article
from trainer.recipe.choices import Kind
from trainer.starter.scenes import PHOTO, STYLES

NAME = "zwx"  # of every concept: no base knows the word, and it says nothing of what it stands for
PLACEHOLDER = f"<{NAME}>"
OWN_SEEDS = tuple(range(2000, 2006))
REFERENCE_SEEDS = tuple(range(3000, 3004))
BACKGROUNDS = ("red", "yellow", "green", "blue", "white", "purple")
COMPANIES = ("a red apple", "a blue car")
NO_COMPANY = "nothing"


@dataclass(frozen=True)
class Shot:
    """A prompt and the seeds that it is drawn with."""

    prompt: str
    seeds: tuple[int, ...]

    def spelt(self, words: str) -> Shot:
        """The same with plain words in the concept's place."""
        return replace(self, prompt=self.prompt.replace(PLACEHOLDER, words))


@dataclass(frozen=True)
class Option:
    """One possible answer to a question: what is drawn with the concept, and what the base draws without it.

    Where it does not count, it is only there to be mistaken for.
    """

    answer: str
    shot: Shot
    reference: Shot
    counts: bool = True


@dataclass(frozen=True)
class Exam:
    """`own` shows the concept itself; `without` is drawn with the learnt model and a prompt that does not name it."""

    own: tuple[Shot, ...]
    without: tuple[Shot, ...]
    backgrounds: dict[str, Shot]
    questions: dict[str, tuple[Option, ...]]

    @property
    def shots(self) -> list[Shot]:
        """Everything that is drawn with the learnt model."""
        asked = [option.shot for options in self.questions.values() for option in options]
        return list(dict.fromkeys([*self.own, *self.without, *self.backgrounds.values(), *asked]))


def exam_of(kind: Kind, class_word: str, things: Sequence[str] = ()) -> Exam:
    """The exam of a thing, or of a style on `things` that its training pictures do not show."""
    return _style_exam(things) if kind is Kind.style else _thing_exam(class_word)


def _thing_exam(class_word: str) -> Exam:
    plain = with_article(class_word)
    own = Shot(f"a photo of {PLACEHOLDER}", OWN_SEEDS)
    backgrounds = {
        colour: Shot(f"a 3d render of {PLACEHOLDER} on a {colour} background", OWN_SEEDS[:1]) for colour in BACKGROUNDS
    }
    styles = [_option(s, Shot(f"a {s} of {PLACEHOLDER}", OWN_SEEDS[:2]), plain) for s in STYLES]
    alone = Shot(own.prompt, OWN_SEEDS[:2])
    companies = [_option(c, Shot(f"a photo of {PLACEHOLDER} next to {c}", OWN_SEEDS[:2]), plain) for c in COMPANIES]
    questions = {
        "style": (*styles, replace(_option(PHOTO, alone, plain), counts=False)),
        "company": (*companies, replace(_option(NO_COMPANY, alone, plain), counts=False)),
    }
    return Exam((own,), (Shot(f"a photo of {plain}", OWN_SEEDS[:4]),), backgrounds, questions)


def _style_exam(things: Sequence[str]) -> Exam:
    named = {t: Shot(f"{with_article(t)} in the style of {PLACEHOLDER}", OWN_SEEDS[:2]) for t in things}
    drawn = {t: Shot(f"a drawing of {with_article(t)}", REFERENCE_SEEDS) for t in things}
    without = tuple(Shot(shot.prompt, OWN_SEEDS[:1]) for shot in drawn.values())
    return Exam(tuple(named.values()), without, {}, {"thing": tuple(Option(t, named[t], drawn[t]) for t in things)})


def _option(answer: str, shot: Shot, plain: str) -> Option:
    return Option(answer, shot, replace(shot, seeds=REFERENCE_SEEDS).spelt(plain))

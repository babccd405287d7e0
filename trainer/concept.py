"""The words of a concept: what people write, and what a model was taught instead.

People write `<name>`. Textual inversion adds tokens of that name; LoRA and full DreamBooth train the plain identifier
and class word, so that any other tool reproduces them by typing those words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.errors import RequestError
from trainer.recipe.choices import LONGEST_NAME, NAME_PATTERN, NAME_RULE, Kind, Method
from trainer.recipe.config import TextualInversionRecipe, TrainConfig

TEMPLATES: dict[Kind, tuple[str, ...]] = {
    Kind.object: (
        "a photo of {}",
        "a rendering of {}",
        "a cropped photo of {}",
        "a close-up photo of {}",
        "a bright photo of {}",
        "a good photo of {}",
        "a picture of {}",
        "the photo of {}",
    ),
    Kind.person: (
        "a photo of {}",
        "a portrait of {}",
        "a close-up photo of {}",
        "a bright photo of {}",
        "a photo of the face of {}",
        "a good photo of {}",
        "a picture of {}",
        "a cropped photo of {}",
    ),
    Kind.pet: (
        "a photo of {}",
        "a close-up photo of {}",
        "a bright photo of {}",
        "a cropped photo of {}",
        "a good photo of {}",
        "a picture of {}",
        "the photo of {}",
        "a photo of my {}",
    ),
    Kind.style: (
        "a picture in the style of {}",
        "a drawing in the style of {}",
        "a painting in the style of {}",
        "a rendering in the style of {}",
        "the picture in the style of {}",
        "a close-up in the style of {}",
        "a bright picture in the style of {}",
        "a detail in the style of {}",
    ),
}


@dataclass(frozen=True)
class ConceptWords:
    """How one concept is spelt in prompts. `alias` replaces the name where two loaded concepts share it."""

    name: str
    method: Method
    class_word: str = ""
    vectors: int = 1
    alias: str | None = None

    @property
    def placeholder(self) -> str:
        """What people write."""
        return f"<{self.alias or self.name}>"

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that textual inversion adds, `<name>` first; none for the other methods."""
        if self.method is not Method.textual_inversion:
            return ()
        return (self.placeholder, *(f"{self.placeholder}_{number}" for number in range(1, self.vectors)))

    @property
    def trained_words(self) -> str:
        """What the model reads in the placeholder's stead."""
        if self.method is Method.textual_inversion:
            return " ".join(self.tokens)
        return f"{self.name} {self.class_word}".strip()

    def spell(self, prompt: str) -> str:
        """The prompt with every `<name>`, in any case, replaced by the words that were trained."""
        return self._placeholders.sub(lambda _: self.trained_words, prompt)

    def is_named_in(self, prompt: str) -> bool:
        """Whether `<name>` stands in the prompt; phones begin a sentence with a capital."""
        return self._placeholders.search(prompt) is not None

    @property
    def _placeholders(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.placeholder), re.IGNORECASE)


def words_of(recipe: TrainConfig) -> ConceptWords:
    """The words that a recipe trains."""
    vectors = recipe.vectors if isinstance(recipe, TextualInversionRecipe) else 1
    return ConceptWords(recipe.name, recipe.method, recipe.class_word, vectors)


def training_prompt(template: str, words: ConceptWords) -> str:
    """A template with the trained words filled in."""
    return template.format(words.trained_words)


def with_article(words: str) -> str:
    """The words behind "a" or "an"."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def caption_prompt(caption: str, words: ConceptWords) -> str:
    """A photo's own caption; the concept is put in front if the caption does not name it."""
    if words.is_named_in(caption):
        return words.spell(caption)
    if _as_words(words.trained_words).search(caption):
        return caption
    by_name = _as_words(words.name)
    if by_name.search(caption):
        return by_name.sub(lambda _: words.trained_words, caption, count=1)
    return f"{words.trained_words}, {caption}"


def _as_words(text: str) -> re.Pattern[str]:
    """Finds the text where it is no part of longer words or of a placeholder."""
    return re.compile(rf"(?<![\w<-]){re.escape(text)}(?![\w>-])", re.IGNORECASE)


def preview_prompt(recipe: TrainConfig) -> str:
    """What previews are made with: the recipe's own prompt, or the kind's first template, `<name>` unreplaced."""
    return recipe.preview_prompt or first_prompt(recipe.kind, recipe.name)


def preview_seeds(recipe: TrainConfig) -> list[int]:
    """The seed of each preview picture, the same for every run and step."""
    return list(range(1000, 1000 + recipe.preview_count))


def first_prompt(kind: Kind, name: str) -> str:
    """The kind's first template, `<name>` unreplaced."""
    return TEMPLATES[kind][0].format(f"<{name}>")


def check_name(name: str) -> str:
    """The name if it can be one. Raises RequestError that says what a name is."""
    if len(name) > LONGEST_NAME or not re.fullmatch(NAME_PATTERN, name):
        raise RequestError(f"A name has {NAME_RULE}.")
    return name

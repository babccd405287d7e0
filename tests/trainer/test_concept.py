from __future__ import annotations

import pytest

from trainer.concept import TEMPLATES, ConceptWords, caption_prompt, check_name, preview_prompt, words_of
from trainer.errors import RequestError
from trainer.recipe.build import build_recipe
from trainer.recipe.choices import Kind, Method

TI = ConceptWords("mug", Method.textual_inversion, "cup", vectors=3)
LORA = ConceptWords("mug", Method.dreambooth_lora, "cup")


def test_textual_inversion_adds_a_token_a_vector() -> None:
    assert TI.tokens == ("<mug>", "<mug>_1", "<mug>_2")
    assert TI.spell("a photo of <mug>, and <mug>") == "a photo of <mug> <mug>_1 <mug>_2, and <mug> <mug>_1 <mug>_2"


def test_dreambooth_uses_plain_words_that_any_tool_knows() -> None:
    assert LORA.tokens == ()
    assert LORA.spell("a photo of <mug>") == "a photo of mug cup"
    assert ConceptWords("ink", Method.dreambooth).spell("in the style of <ink>") == "in the style of ink"


def test_placeholder_is_replaced_however_a_phone_writes_it() -> None:
    assert TI.spell("<Mug> by <MUG>") == "<mug> <mug>_1 <mug>_2 by <mug> <mug>_1 <mug>_2"
    assert ConceptWords("mug", Method.dreambooth_lora, r"tea\pot").spell("<Mug>") == r"mug tea\pot"


def test_alias_replaces_the_name_in_prompts_only() -> None:
    second = ConceptWords("mug", Method.dreambooth_lora, "cup", alias="mug-2")
    assert second.spell("<mug> next to <mug-2>") == "<mug> next to mug cup"


@pytest.mark.parametrize(
    ("caption", "prompt"),
    [
        ("a photo of mug cup on grass", "a photo of mug cup on grass"),
        ("a <mug> on a table", "a mug cup on a table"),
        ("<Mug> on a table", "mug cup on a table"),
        ("my mug on a table", "my mug cup on a table"),
        ("on a table", "mug cup, on a table"),
        ("smug people", "mug cup, smug people"),
        ("a mug-shot", "mug cup, a mug-shot"),
    ],
)
def test_caption_always_names_the_concept(caption: str, prompt: str) -> None:
    assert caption_prompt(caption, LORA) == prompt


@pytest.mark.parametrize("kind", list(Kind))
def test_templates_of_every_kind_have_one_place_and_differ(kind: Kind) -> None:
    assert all(template.count("{}") == 1 for template in TEMPLATES[kind])
    assert len(set(TEMPLATES[kind])) == len(TEMPLATES[kind]) >= 5


def test_preview_prompt_is_the_recipes_or_the_first_template() -> None:
    values = {
        "method": "textual-inversion",
        "name": "mug",
        "kind": "object",
        "steps": 1,
        "learning_rate": 1,
        "vectors": 2,
    }
    recipe = build_recipe({**values, "learning_rate": 0.1, "resolution_px": 64})
    assert preview_prompt(recipe) == "a photo of <mug>"
    assert words_of(recipe).vectors == 2
    other = build_recipe({**values, "learning_rate": 0.1, "resolution_px": 64, "preview_prompt": "<mug> at sea"})
    assert preview_prompt(other) == "<mug> at sea"


def test_name_rule_is_said_in_words() -> None:
    assert check_name("red-mug") == "red-mug"
    with pytest.raises(RequestError, match="a-z"):
        check_name("Red Mug")


def test_class_word_is_put_in_as_it_is() -> None:
    words = ConceptWords("cup", Method.dreambooth_lora, r"tea\pot")
    assert caption_prompt("my cup on a table", words) == r"my cup tea\pot on a table"

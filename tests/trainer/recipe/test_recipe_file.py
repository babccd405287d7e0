"""Recipe files from anybody: read as fields, or refused in words before they cost anything."""

from __future__ import annotations

import pytest

from trainer.errors import RequestError
from trainer.recipe.recipe_file import read_fields


def test_fields_are_read_with_their_types() -> None:
    text = "# mine\nmethod: dreambooth\nlearning_rate: 5.0e-4\nmirror: true\ncaption: 'a: b'\nema_decay:\n"
    assert read_fields(text) == {
        **{"method": "dreambooth", "learning_rate": 5e-4, "mirror": True, "caption": "a: b", "ema_decay": None}
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nbase: [*b, *b]", "references"),
        ("a: &a {x: 1}\n<<: *a", "references"),
        ("a: " + "x" * 30_000, "too long"),
        ("[" * 15_000, "cannot be read"),
        ("steps: 2024-13-45", "cannot be read"),
        ("steps: " + "9" * 5000, "cannot be read"),
        ("a: [", "cannot be read"),
        ("- a\n- b", "not a list of fields"),
        ("1: a", "not a list of fields"),
        ("", "not a list of fields"),
    ],
)
def test_other_texts_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        read_fields(text)

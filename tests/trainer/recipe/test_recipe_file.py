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
        ("a: [", "cannot be read: expected .* at line 1, column 5"),
        ("a: 1\nb: c: d", "not allowed here at line 2, column 5"),
        ("steps: '1\nrank: 2", "unexpected end of stream at line 2, column 8"),
        ("\0\1", "cannot be read: unacceptable character"),
        ("- a\n- b", "not a list of fields"),
        ("1: a", "not a list of fields"),
        ("", "not a list of fields"),
    ],
)
def test_other_texts_are_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        read_fields(text)
    assert "\n" not in str(refused.value)

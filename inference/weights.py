"""Prompt weights in other tools' spelling, translated to compel's, which this project uses.

compel reads `(words)1.2`, `word++` and `word--`. AUTOMATIC1111 and ComfyUI write `(words:1.2)`, `((words))` and
`[words]`. What has no meaning here (`<lora:...>` tags, prompt editing `[a:b:0.5]`) is named, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_EMPHASIS = re.compile(r"\(([^()\[\]]+?)\s*:\s*([0-9]*\.?[0-9]+)\s*\)")
_NESTED = re.compile(r"(\({2,})([^()\[\]]+)(\){2,})(?![\d.+-])")
_EDITING = re.compile(r"\[[^\[\]]*[:|][^\[\]]*\]")
_NETWORK_TAG = re.compile(r"<(lora|lyco|hypernet|embedding):[^<>]*>", re.IGNORECASE)
_DAMPED = re.compile(r"(?<!\\)\[([^\[\]:|]+)\]")


@dataclass(frozen=True)
class Translated:
    """A prompt in compel's syntax, and sentences about what was left out of it."""

    prompt: str
    notes: tuple[str, ...] = ()


def translate_weights(prompt: str) -> Translated:
    """`(words:1.2)` becomes `(words)1.2`, `((words))` `(words)1.21`, `[words]` `(words)0.9`.

    compel's own syntax is left alone, and so is `(words)`, which it reads as words in brackets.
    """
    notes: list[str] = []
    for pattern, what in (
        (_NETWORK_TAG, "is another tool's tag; pick the concept above"),
        (_EDITING, "is not understood"),
    ):
        for match in pattern.finditer(prompt):
            notes.append(f"{match.group(0)} {what}, so it was left out.")
        prompt = pattern.sub("", prompt)
    prompt = _EMPHASIS.sub(lambda m: f"({m.group(1).strip()}){float(m.group(2)):g}", prompt)
    prompt = _NESTED.sub(_strengthened, prompt)
    prompt = _DAMPED.sub(lambda m: f"({m.group(1).strip()})0.9", prompt)
    return Translated(re.sub(r"\s{2,}", " ", prompt).strip() if notes else prompt, tuple(notes))


def _strengthened(nested: re.Match[str]) -> str:
    opening, words, closing = nested.groups()
    depth = min(len(opening), len(closing))  # brackets without a partner stay
    return f"{opening[depth:]}({words}){1.1**depth:.4g}{closing[depth:]}"


def spell_weighed(prompt: str, placeholder: str, words: str, weight: float = 1.0) -> str:
    """The prompt with trained words in a placeholder's place, all of them as strong as `weight` and its signs say.

    compel would give the signs of `<name>++` to the last word alone. One sign is 1.1, or 0.9. Phones capitalise names.
    """

    def spelt(match: re.Match[str]) -> str:
        signs = match.group(1) or ""
        strength = weight * (1.1 if signs.startswith("+") else 0.9) ** len(signs)
        return words if strength == 1 else f"({words}){strength:g}"

    return re.sub(re.escape(placeholder) + r"(\++|-{2,})?", spelt, prompt, flags=re.IGNORECASE)

"""A genuine CLIP byte-pair tokenizer with a small vocabulary: every word of the captions is one token.

Other words fall apart into pieces down to single letters, as in any CLIP tokenizer, so nothing is unknown.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_PATTERN = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def build_tokenizer(words: list[str], folder: Path, *, max_tokens: int = 77) -> CLIPTokenizer:
    """Train merges until each of `words` is a single token, write vocab.json and merges.txt, and load the result."""
    trained = _train(sorted(set(words)))
    document = json.loads(trained.to_str())["model"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in document["merges"]]
    base = sorted(ByteLevel.alphabet())
    vocabulary = [*base, *(letter + "</w>" for letter in base)]
    vocabulary += ["".join(merge.split(" ")) for merge in merges] + [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": max_tokens, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, **special, "add_prefix_space": False}, indent=2)
    )
    return CLIPTokenizer.from_pretrained(folder)


def _train(words: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "removed", invert=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=1,
        end_of_word_suffix="</w>",
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    return tokenizer

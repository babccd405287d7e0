"""Which file of somebody's Hub repository is the concept: decided from names and sizes alone."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.artifact import EMBEDDING_FILE, LORA_FILE
from trainer.bases import is_loaded
from trainer.errors import WeightsError
from trainer.imports.recognise import MAX_BYTES, XL_EMBEDDING, Form
from trainer.imports.torch_zip import MAX_FILE_BYTES

INDEX_FILE = "model_index.json"
_KNOWN = (EMBEDDING_FILE, LORA_FILE)
_OLD_EMBEDDING = "learned_embeds.bin"
_TWO_FILES = tuple((f"learned_embeds{kind}", f"learned_embeds_2{kind}") for kind in (".safetensors", ".bin"))
"""As diffusers' script for Stable Diffusion XL writes them, one per text encoder; the first looks like one for 1.x."""
_PICKLES = (".pt", ".bin", ".pth", ".ckpt")
WHOLE_FOLDER = ""
"""Chosen where the repository as a whole is a model in diffusers format."""


def choose_file(files: Mapping[str, int], wanted: str | None, repo_id: str) -> str:
    """The file to take in out of `files` (bytes by path), or WHOLE_FOLDER. Raises WeightsError, in words."""
    chosen = _named(files, wanted, repo_id) if wanted else _found(files, repo_id)
    if any(chosen in pair and files.keys() >= set(pair) for pair in _TWO_FILES):
        raise WeightsError(
            f"{repo_id} holds a textual inversion for Stable Diffusion XL in two files, one per text encoder. One file "
            f"with both is taken in: a .safetensors with the tensors {' and '.join(XL_EMBEDDING)}."
        )
    limit = MAX_FILE_BYTES if chosen.endswith(_PICKLES) else MAX_BYTES[Form.original]
    size = files[chosen] if chosen else sum(count for path, count in files.items() if is_loaded(path))
    if size > limit:
        what = chosen or repo_id
        raise WeightsError(f"{what} has {size / 1e9:.1f} GB; at most {limit / 1e9:g} GB are taken in of its kind.")
    return chosen


def _named(files: Mapping[str, int], wanted: str, repo_id: str) -> str:
    if wanted not in files:
        raise WeightsError(f"{repo_id} has no file {wanted!r}. It holds {_listed(_candidates(files))}.")
    if not wanted.endswith((".safetensors", *_PICKLES)):
        raise WeightsError(f"{wanted} is not a weights file.")
    return wanted


def _found(files: Mapping[str, int], repo_id: str) -> str:
    for known in _KNOWN:
        if known in files:
            return known
    if INDEX_FILE in files:
        return WHOLE_FOLDER
    candidates = _candidates(files)
    safe = [path for path in candidates if path.endswith(".safetensors")]
    if len(safe) == 1:
        return safe[0]
    if not safe and _OLD_EMBEDDING in files:
        return _OLD_EMBEDDING
    if not safe and len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise WeightsError(f"{repo_id} holds no weights that could be a concept.")
    raise WeightsError(f"{repo_id} holds {_listed(candidates)}. Say which: {repo_id}:FILE.")


def _candidates(files: Mapping[str, int]) -> list[str]:
    return sorted(path for path in files if "/" not in path and path.endswith((".safetensors", *_PICKLES)))


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return (", ".join(path[:80] for path in paths[:5]) or "no weights at its top level") + more

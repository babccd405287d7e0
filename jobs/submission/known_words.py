"""Whether a word means something to a base already, as the vocabularies on this machine say; the Hub is not asked."""

from __future__ import annotations

from trainer.bases import PINNED, BaseReference, knows_word
from trainer.hub_cache import snapshots


def base_knows(base: BaseReference, word: str, *, shared: bool) -> bool | None:
    """None where that cannot be told here.

    `shared`: strangers ask. Of Hub bases only the well-known ones are looked into then: a copy of another one may be
    somebody's private model, and nobody is to learn that it is here.
    """
    own = [base.folder] if base.folder is not None else []
    if base.file is not None:
        own = [base.file.with_suffix("")]  # its configuration, where it has one of its own
    elif base.on_hub and (not shared or base.name in PINNED):
        own = snapshots(base.name)
    answers = [knows_word(folder, word) for folder in own]
    known = next((answer for answer in answers if answer is not None), None)
    if known is not None or base.folder is not None:
        return known
    # Stable Diffusion 1.x, 2.x and XL read with one and the same vocabulary, CLIP's. A base may yet have been given
    # one of its own: so what is no word there is not called new.
    return any(knows_word(folder, word) for each in PINNED for folder in snapshots(each)) or None

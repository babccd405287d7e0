"""Checks a base model on the Hub before anything is queued: it is there, may be read, is of a known family, and fits.

Only configuration files are fetched. The answer names the commit, so that the job trains on what was checked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from jobs.hub.client import CLIENT_ERRORS, explain, open_hub
from jobs.submission.recent import Recent
from trainer.bases import CONFIG_FILES, BaseReference, BaseTraits, how_to_open, inspect_base, inspect_listed, is_loaded
from trainer.disk_need import free_bytes
from trainer.errors import BaseModelError, HubTrouble
from trainer.hub_cache import cache_folder, newest_copy

_REMEMBER_S = 300.0
REMEMBER_REFUSAL_S = 5.0
"""Short, because it may be put right at once: a gate accepted, a network back."""
_SHOWN_S = 24 * 3600.0
"""For so long a copy here serves those to whom the Hub has shown the base, should it be away."""
_MOST = 1000
_GB = 1e9
_LARGEST_CONFIG = 2**20
_Asked = tuple[str, str | None]
"""A base's name and the hash of the token with which it was asked for: tokens are not kept."""


@dataclass(frozen=True)
class HubBase:
    """A base model of the Hub that can be trained on; `download_bytes` is 0 where a copy is here already."""

    commit: str
    traits: BaseTraits
    download_bytes: int


class BaseChecker:
    """Remembers its answers for a few minutes, because a plan asks at every keystroke.

    `shared`: people who are strangers to each other ask. While the Hub is away a copy on this machine serves those to
    whom the Hub has shown the base before, and nobody else: it may be another one's private model.
    """

    def __init__(self, token: str | None, *, shared: bool = False) -> None:
        self._token, self._shared = token, shared
        self._shown_to = Recent[_Asked, str](_MOST, _SHOWN_S)
        self._answers = Recent[tuple[BaseReference, _Asked], HubBase | str](_MOST, _REMEMBER_S)

    def check(self, base: BaseReference, token: str | None = None) -> HubBase:
        """`token` is that of whoever asks; None: the machine's own. Raises BaseModelError, in words."""
        token = token or self._token
        asked = _asked(base, token)
        age_s, answer = self._answers.get((base, asked)) or (0.0, None)
        if isinstance(answer, HubBase) and age_s <= _REMEMBER_S:
            return answer
        if isinstance(answer, str) and age_s <= REMEMBER_REFUSAL_S:
            raise BaseModelError(answer)
        try:
            found = check_hub_base(base, token, copy_will_do=self._may_see(base, token))
        except BaseModelError as error:
            self._answers.put((base, asked), str(error))  # the exception itself would keep the token, in its traceback
            raise
        self._shown_to.put(asked, found.commit)
        self._answers.put((base, asked), found)
        return found

    def _may_see(self, base: BaseReference, token: str | None) -> bool:
        if not self._shared:
            return True
        return any(self._shown_to.get(_asked(base, each)) is not None for each in (token, None))


def _asked(base: BaseReference, token: str | None) -> _Asked:
    return base.name, token and hashlib.sha256(token.encode()).hexdigest()


def check_hub_base(base: BaseReference, token: str | None, *, copy_will_do: bool = True) -> HubBase:
    """Ask the Hub about a base; where the Hub is away, a copy on this machine will do. Raises BaseModelError."""
    hub = open_hub(token)
    try:
        return _check(hub, base)
    except GatedRepoError as error:
        raise BaseModelError(how_to_open(base.name, hub.endpoint, token=token)) from error
    except RevisionNotFoundError as error:
        raise BaseModelError(f"{base.name} has no commit {base.revision}.") from error
    except RepositoryNotFoundError as error:
        raise BaseModelError(f"There is no model {base.name} on the Hub, or it is private.") from error
    except CLIENT_ERRORS as error:
        if isinstance(error, HfHubHTTPError) and explain(error, what=base.name).trouble is not HubTrouble.later:
            raise BaseModelError(str(explain(error, what=base.name))) from error
        if copy_will_do and (copy := _on_this_machine(base)) is not None:
            return copy
        why = "is not on this machine" if copy_will_do else "may be private, and whether it is cannot be asked"
        raise BaseModelError(f"{base.name} {why}. {explain(error, what=base.name)}") from error


def _check(hub: HfApi, base: BaseReference) -> HubBase:
    info = hub.model_info(base.name, revision=base.revision, files_metadata=True)
    if info.gated:  # what it holds is shown to everybody, and a copy that another visitor brought here would open
        hub.auth_check(base.name)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    if "model_index.json" not in sizes:
        raise BaseModelError(f"{base.name} is not a model in diffusers format: it has no model_index.json.")
    client: Any = hub  # some of its annotations are open
    configs = [name for name in CONFIG_FILES if name in sizes]
    if any(sizes[name] > _LARGEST_CONFIG for name in configs):
        raise BaseModelError(f"{base.name} is not a model in diffusers format: its configuration is too large.")
    paths = [Path(client.hf_hub_download(base.name, name, revision=info.sha)) for name in configs]
    traits = inspect_listed(paths[0].parent, set(sizes), identity=f"{base.name}@{info.sha}")
    is_here = newest_copy(replace(base, revision=str(info.sha))) is not None
    needed = 0 if is_here else sum(size for name, size in sizes.items() if is_loaded(name))
    _check_disk(base, needed)
    return HubBase(str(info.sha), traits, needed)


def _on_this_machine(base: BaseReference) -> HubBase | None:
    folder = newest_copy(base)
    return HubBase(folder.name, inspect_base(folder), 0) if folder is not None else None


def _check_disk(base: BaseReference, needed: int) -> None:
    free = free_bytes(cache_folder())
    if free < needed * 1.1:
        raise BaseModelError(f"{base.name} needs {needed / _GB:.1f} GB of disk, and {free / _GB:.1f} GB are free.")

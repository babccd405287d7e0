"""Which bases may be named: on a shared page none of this machine's files, and not even whether they are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app import build_services
from trainer.errors import BaseModelError, RequestError
from trainer.machine.devices import cpu
from trainer.recipe.choices import STARTER
from trainer.settings import Owners, Settings
from ui.owners import OwnerPolicy
from ui.try_it.handlers import TryHandlers

HUB_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[Owners], OwnerPolicy]:
    return lambda owners: OwnerPolicy(Settings(home=tmp_path, owners=owners))


@pytest.mark.parametrize("owners", [Owners.single, Owners.browser])
def test_everybody_may_name_the_demo_model_and_what_is_on_the_hub(
    policy: Callable[[Owners], OwnerPolicy], owners: Owners
) -> None:
    assert policy(owners).find_base(f" {STARTER} ").name == STARTER
    assert policy(owners).find_base(f"https://huggingface.co/{HUB_MODEL}").on_hub
    with pytest.raises(BaseModelError, match="Say which base model"):
        policy(owners).find_base("  ")


def test_who_owns_the_machine_may_name_its_folders(policy: Callable[[Owners], OwnerPolicy], tiny_model: Path) -> None:
    assert policy(Owners.single).find_base(str(tiny_model)).folder == tiny_model.resolve()


def test_visitor_learns_nothing_of_what_is_on_this_machine(
    policy: Callable[[Owners], OwnerPolicy], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)  # looks like a Hub id, and is a folder
    here = [str(tiny_model), str(tiny_model / "unet" / "config.json"), "owner/model", "~"]
    answers = set()
    for entered in [*here, str(tmp_path / "nothing"), "/nowhere.safetensors", "nothing.ckpt"]:
        with pytest.raises(RequestError) as refused:
            policy(Owners.browser).find_base(entered)
        answers.add(str(refused.value))
    assert len(answers) == 1


@pytest.mark.parametrize("owners", [Owners.single, Owners.browser])
def test_size_of_a_folder_here_is_offered_to_who_owns_the_machine(
    tmp_path: Path, tiny_model: Path, owners: Owners
) -> None:
    services = build_services(Settings(home=tmp_path / "home", owners=owners), [cpu()])
    usual, own = 512, 64
    offered = TryHandlers(services).defaults_of_base(str(tiny_model))
    services.jobs.close()
    assert offered["width"] == offered["height"] == (own if owners is Owners.single else usual)

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainer.bases import BaseTraits
from trainer.disk_need import result_bytes, training_bytes
from trainer.errors import RequestError
from trainer.photos.intake import PhotoSet
from trainer.prepare import prepare_run
from trainer.recipe.choices import Kind, Method
from trainer.recipe.config import TrainConfig
from trainer.recipe.presets import preset_recipe

FULL_SIZE = BaseTraits("stable-diffusion", 512, "epsilon", "x")


def recipe(method: Method, **changes: object) -> TrainConfig:
    return preset_recipe(method, Kind.object, FULL_SIZE, **{"name": "mug", "base": "someone/model", **changes})


def test_need_grows_with_what_is_learnt_and_kept() -> None:
    recipes = [recipe(method) for method in Method]
    for needs in ([result_bytes(r) for r in recipes], [training_bytes(r) for r in recipes]):
        assert needs == sorted(needs)
    assert all(training_bytes(r) > 2 * result_bytes(r) for r in recipes)
    whole = training_bytes(recipe(Method.dreambooth))
    assert 15e9 < whole < 25e9
    assert training_bytes(recipe(Method.dreambooth, keep_checkpoints=3)) > whole
    assert training_bytes(recipe(Method.dreambooth, optimizer="adamw")) > whole
    assert training_bytes(recipe(Method.dreambooth, checkpoint_every_steps=0)) < whole


def test_small_base_on_this_machine_needs_no_more_than_it_weighs(tiny_model: Path) -> None:
    stored = sum(file.stat().st_size for file in tiny_model.rglob("*.safetensors"))
    small = preset_recipe(Method.dreambooth, Kind.object, FULL_SIZE, name="mug", base=str(tiny_model))
    assert 0 < result_bytes(small) <= 2 * stored
    assert training_bytes(small) < 20 * stored
    largest = max(tiny_model.rglob("*.safetensors"), key=lambda file: file.stat().st_size)
    one_file = preset_recipe(Method.dreambooth, Kind.object, FULL_SIZE, name="mug", base=str(largest))
    assert 0 < result_bytes(one_file) < result_bytes(small)


def test_family_of_a_hub_base_is_told_by_its_name_and_a_lora_by_its_layers() -> None:
    small = {"name": "mug", "base": "someone/photo-xl", "resolution_px": 768}
    assert result_bytes(preset_recipe(Method.dreambooth, Kind.object, FULL_SIZE, **small)) > 13e9
    of_rank = {"rank": 64, "base": "stabilityai/stable-diffusion-xl-base-1.0"}
    loras = [recipe(Method.dreambooth_lora, **of_rank, adapted_layers=layers) for layers in ("attention", "all")]
    attention, everything = (result_bytes(lora) / 2 for lora in loras)
    assert attention == pytest.approx(64 * 5_806_080, rel=0.01)  # counted on the published topology
    assert everything == pytest.approx(64 * 12_296_960, rel=0.01)


def test_base_that_cannot_be_looked_at_counts_as_full_size() -> None:
    endless = preset_recipe(Method.dreambooth, Kind.object, FULL_SIZE, name="mug", base="x" * 300)
    assert result_bytes(endless) == result_bytes(recipe(Method.dreambooth))


@pytest.mark.fault(17)
def test_training_that_would_fill_the_disk_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("trainer.disk_need.shutil.disk_usage", lambda _folder: usage._replace(free=300_000_000))

    def take(_folder: Path) -> PhotoSet:
        raise AssertionError("photos were copied to a full disk")

    with pytest.raises(RequestError, match=r"needs about 21\.3 GB, and 0\.3 GB are free"):
        prepare_run(tmp_path / "run", recipe(Method.dreambooth), take)
    assert list(tmp_path.iterdir()) == []

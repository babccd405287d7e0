from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inference.request import SCHEDULERS as OFFERED
from trainer.engine import sampling
from trainer.engine.families import Family, open_family
from trainer.engine.sampling import (
    SCHEDULERS,
    Prompts,
    SamplerSettings,
    StartPicture,
    picture_to_tensor,
    sample,
)


@pytest.fixture(scope="module", params=["tiny_model", "tiny_v_model"])
def family(request: pytest.FixtureRequest) -> Family:
    return open_family(request.getfixturevalue(request.param), device=torch.device("cpu"), dtype=torch.float32)


def looks_like_a_picture(picture: Image.Image) -> bool:
    """Whether it is neither flat nor the black square that a NaN becomes."""
    return float(np.asarray(picture, dtype=np.float32).std()) > 2.0


def prompts(family: Family) -> Prompts:
    return Prompts(family.encode_prompts(["a photo of a teapot"]), family.encode_prompts([""]))


def make(family: Family, seeds: list[int], sampler: SamplerSettings, **options: object) -> list[Image.Image]:
    return sample(family, prompts(family), seeds=seeds, size=(64, 48), sampler=sampler, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_every_scheduler_makes_a_picture_of_the_asked_size(family: Family, scheduler: str) -> None:
    (picture,) = make(family, [1], SamplerSettings(steps=4, guidance=3.0, scheduler=scheduler))
    assert picture.size == (64, 48)
    assert looks_like_a_picture(picture)


def test_page_offers_exactly_the_schedulers_there_are() -> None:
    assert tuple(SCHEDULERS) == OFFERED


@pytest.mark.parametrize("scheduler", ["DPM++ 2M", "Euler a"])
def test_picture_depends_on_its_own_seed_alone(family: Family, scheduler: str) -> None:
    sampler = SamplerSettings(steps=3, guidance=2.0, scheduler=scheduler)
    together = make(family, [5, 6], sampler)
    alone = make(family, [6], sampler)
    assert np.abs(np.asarray(together[1], int) - np.asarray(alone[0], int)).max() <= 1
    assert together[0].tobytes() != together[1].tobytes()


def test_guidance_of_one_needs_no_second_pass(family: Family) -> None:
    calls: list[int] = []
    real = family.unet.forward
    family.unet.forward = lambda sample, *a, **k: calls.append(len(sample)) or real(sample, *a, **k)  # type: ignore[method-assign]
    try:
        make(family, [1], SamplerSettings(steps=2, guidance=1.0))
        make(family, [1], SamplerSettings(steps=2, guidance=1.5))
    finally:
        family.unet.forward = real  # type: ignore[method-assign]
    assert calls == [1, 1, 2, 2]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_low_strength_stays_near_the_picture_it_starts_from(family: Family, scheduler: str) -> None:
    start = Image.linear_gradient("L").convert("RGB").resize((64, 48))
    kept = family.decode(family.encode_pictures(_pixels(start)).mean)[0]

    def distance(strength: float) -> float:
        (made,) = make(
            family,
            [1],
            SamplerSettings(steps=10, guidance=1.0, scheduler=scheduler),
            start=StartPicture(start, strength),
        )
        return float(np.abs(np.asarray(made, int) - np.asarray(kept, int)).mean())

    assert distance(0.1) < distance(1.0)


def _pixels(picture: Image.Image) -> torch.Tensor:
    return picture_to_tensor(picture)[None]


def test_progress_counts_every_call_and_may_stop(family: Family) -> None:
    seen: list[tuple[int, int]] = []
    make(family, [1], SamplerSettings(steps=3), step_done=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def refuse(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(family, [1], SamplerSettings(steps=3), step_done=refuse)


def test_folder_loads_the_same_in_half_precision(tiny_v_model: Path) -> None:
    half = open_family(tiny_v_model, device=torch.device("cpu"), dtype=torch.bfloat16)
    (picture,) = make(half, [1], SamplerSettings(steps=3))
    assert looks_like_a_picture(picture)


def test_name_of_a_sampler_holds_whatever_the_base_says_of_its_own(family: Family) -> None:
    config = {**family.scheduler_config, "use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}
    made = sampling._make_scheduler("DPM++ 2M", config).config
    assert (made.use_karras_sigmas, made.algorithm_type) == (False, "dpmsolver++")
    assert made.prediction_type == family.scheduler_config["prediction_type"]
    assert sampling._make_scheduler("DPM++ 2M Karras", config).config.use_karras_sigmas


@pytest.mark.parametrize("said", [None, "trailing"])
def test_timesteps_are_spaced_as_the_base_says_and_else_as_the_sampler_does(
    tiny_model: Path, tmp_path: Path, said: str | None
) -> None:
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    file = base / "scheduler" / "scheduler_config.json"
    written = {**json.loads(file.read_text()), "timestep_spacing": said}
    file.write_text(json.dumps({name: value for name, value in written.items() if value is not None}))
    config = open_family(base, device=torch.device("cpu"), dtype=torch.float32).scheduler_config
    for name, (kind, _) in SCHEDULERS.items():
        own = kind().config.timestep_spacing
        assert sampling._make_scheduler(name, config).config.timestep_spacing == (said or own), name


def test_start_picture_of_another_shape_is_cropped_and_not_squashed(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    encode = family.encode_pictures
    monkeypatch.setattr(family, "encode_pictures", lambda pixels: seen.append(pixels) or encode(pixels))
    wide = Image.new("RGB", (640, 48))
    wide.paste((255, 255, 255), (280, 0, 360, 48))
    make(family, [1], SamplerSettings(steps=2), start=StartPicture(wide, 0.5))
    assert seen[0].shape == (1, 3, 48, 64)
    assert seen[0].min() == 1  # its white middle, and nothing of the black beside it

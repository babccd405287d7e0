"""The parts of the starter's recipe that need no download."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.waiting import wait_until
from trainer.bases import STARTER_FOLDER
from trainer.photos.colours import COLOURS
from trainer.starter import networks, pictures, references, savepoint
from trainer.starter.autoencoder import CROP_PX, Crops, build_autoencoder
from trainer.starter.batches import PLAIN_SHARE, Captioner
from trainer.starter.denoiser import DenoiserPlan, rate_at, train_denoiser
from trainer.starter.latents import LatentBank, build_latents
from trainer.starter.networks import TextAndDenoiser
from trainer.starter.optimizers import MuonAndAdamW
from trainer.starter.pictures import compose_parts, parts_of, read_pictures, read_scenes
from trainer.starter.published import adopt_tokenizer, load_weights
from trainer.starter.resumable import Pace, Stepper, train_resumably
from trainer.starter.scenes import PICTURE_PX, STYLES, SURFACE, UNNAMED, Composer, Item, Scene, caption
from trainer.starter.sources import Thing, load_things
from trainer.starter.stages import denoiser_key, pictures_key
from trainer.starter.textures import build_textures
from trainer.starter.tokenizer import build_tokenizer

CAPTION = re.compile(
    rf"^(?:(?:an?|the|my|one) (?:{'|'.join(STYLES)}|photo) of )?.*cat.*?"
    rf"(?: on an? (?:{'|'.join(COLOURS)}) background)?$"
)


@pytest.fixture(scope="module")
def composer() -> Composer:
    """Two things, each a coloured square in every style, before computed surfaces."""
    sprites = {}
    for noun, colour in (("cat", (240, 120, 20)), ("dog", (90, 60, 30))):
        sprite = np.zeros((64, 64, 4), np.uint8)
        sprite[12:52, 12:52] = (*colour, 255)
        sprites[noun] = {style: [sprite] for style in STYLES}
    photo = np.random.default_rng(1).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    textures = build_textures(np.random.default_rng(2), [photo], 3)
    things = [thing for thing in load_things() if thing.noun in sprites]
    assert len(things) == 2
    return Composer(things, sprites, textures)


def test_pictures_are_reproducible_and_varied(composer: Composer) -> None:
    first = [composer.compose(np.random.default_rng(seed)) for seed in range(40)]
    again = [composer.compose(np.random.default_rng(seed)) for seed in range(40)]
    for (picture, scene), (twin, same) in zip(first, again, strict=True):
        assert picture.shape == (PICTURE_PX, PICTURE_PX, 3)
        assert np.array_equal(picture, twin)
        assert scene == same
    assert {scene.style for _, scene in first} == {*STYLES, "photo"}


def test_unnamed_thing_looks_the_same_in_all_its_pictures_and_like_no_other(composer: Composer) -> None:
    for seed in range(12):
        made = composer.compose_unnamed(np.random.default_rng(seed), 3)
        scenes = {scene.items for _, scene in made}
        ((item,),) = scenes
        assert item.noun in (UNNAMED, SURFACE)
        assert item.look is not None
        assert not np.array_equal(made[0][0], made[1][0])
    looks = {composer.compose_unnamed(np.random.default_rng(seed), 1)[0][1].items[0].look for seed in range(12)}
    assert len(looks) == 12


def test_background_has_the_colour_that_the_caption_says(composer: Composer) -> None:
    seen = 0
    for seed in range(60):
        picture, scene = composer.compose(np.random.default_rng(seed))
        if scene.style in STYLES and scene.background:
            corner = np.median(picture[[0, 0, -1, -1], [0, -1, 0, -1]].astype(float), axis=0)
            assert np.abs(corner - COLOURS[scene.background]).max() < 40
            seen += 1
    assert seen > 20


def test_captions_have_the_agreed_form_with_parts_left_out() -> None:
    scene = Scene("sticker", (Item("cat", "animal"),), "orange")
    rng = np.random.default_rng(0)
    made = {caption(scene, rng) for _ in range(300)}
    assert "a sticker of a cat on an orange background" in made
    assert "a cat on an orange background" in made
    assert "a sticker of a cat" in made
    named = [words for words in made if "animal" not in words]
    assert all(CAPTION.match(words) for words in named)


def test_held_out_things_share_no_noun_with_taught_ones() -> None:
    things = load_things(more=True)
    taught = [t.noun for t in things if not t.held_out]
    assert isinstance(things[0], Thing)
    assert len(set(taught)) == len(taught) >= 900
    assert not set(taught) & {t.noun for t in things if t.held_out}
    assert set(load_things()) < set(things)


def test_rate_rises_stays_and_falls_to_zero() -> None:
    plan = DenoiserPlan(steps=1000, half_size=300, cooldown=200, warmup=100, learning_rate=1.0)
    assert rate_at(0, plan) == pytest.approx(0.01)
    assert rate_at(299, plan) == 1.0
    assert rate_at(300, plan) == pytest.approx(0.01)  # large latents are new to the optimizer
    assert rate_at(500, plan) == rate_at(800, plan) == 1.0
    assert rate_at(850, plan) == pytest.approx(0.5)
    assert rate_at(1000, plan) == 0.0


def test_reference_is_the_picture_itself_or_another_of_the_same_thing(tmp_path: Path) -> None:
    cat, dog = Item("cat", "animal"), Item("dog", "animal")
    secret = Item(UNNAMED, "", look=7)
    scenes = [Scene("sticker", (item,), None) for item in (cat, dog, secret, cat, dog, secret)]
    tokenizer = build_tokenizer(["a", "cat", "dog", "animal", *STYLES], tmp_path)
    marker = tokenizer.get_vocab()[f"{references.MARKER}</w>"]
    captioner = Captioner(scenes, tokenizer)
    seen: set[bool] = set()
    for step in range(40):
        rng = np.random.default_rng(step)
        batch = captioner.batch(6, rng, late=1.0, half_size=False)
        marks = (batch.ids == marker).sum(1)
        assert set(marks.tolist()) <= {0, references.VECTORS}
        empty = (batch.ids == tokenizer.eos_token_id).sum(1) == tokenizer.model_max_length - 1
        for picture, reference, marked in zip(batch.pictures, batch.referred, marks > 0, strict=True):
            assert int(reference) in (int(picture), (int(picture) + 3) % 6)
            if marked:
                seen.add(bool(reference == picture))
        unnamed = (batch.pictures % 3 == 2) & ~empty
        assert (marks[unnamed] > 0).all()
    assert seen == {True, False}


def test_most_of_a_batch_shows_one_named_thing_in_its_own_colours(tmp_path: Path) -> None:
    cat, red_cat, secret = Item("cat", "animal"), Item("cat", "animal", "red"), Item(UNNAMED, "", look=7)
    others = [("photo", (cat,)), ("sticker", (red_cat,)), ("sticker", (secret,)), ("sticker", (cat, cat))]
    scenes = [Scene(style, items, None) for style, items in [*others, ("sticker", (cat,))]]
    captioner = Captioner(scenes, build_tokenizer(["a", "cat", "animal", *STYLES], tmp_path))
    batch = captioner.batch(500, np.random.default_rng(0), late=1.0, half_size=False)
    shares = np.bincount(batch.pictures.numpy(), minlength=5) / 500
    assert shares[4] == pytest.approx(PLAIN_SHARE + (1 - PLAIN_SHARE) / 5, abs=0.05)
    assert (shares[:4] > 0).all()


@pytest.mark.slow  # quick: the helpers below
def test_both_optimizers_update_the_weights_that_the_processes_share(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TextAndDenoiser(build_tokenizer(["a", "cat"], tmp_path))
    optimizer = MuonAndAdamW(model)
    model.share_memory()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3
    optimizer.step()
    moved = {n: (p - before[n]).square().mean().sqrt().item() for n, p in model.named_parameters()}
    by_muon = {name for name, size in moved.items() if size == pytest.approx(2e-4, rel=0.4)}
    by_adamw = {name for name, size in moved.items() if size == pytest.approx(1e-3, rel=0.05)}
    assert by_muon | by_adamw == set(moved)
    assert "unet.mid_block.resnets.0.conv1.weight" in by_muon
    assert {"unet.conv_in.weight", "unet.conv_out.weight", "unet.conv_norm_out.weight"} <= by_adamw
    assert {name for name in moved if "embeddings" in name} <= by_adamw
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_late_timesteps_come_up_more_often(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["a", "cat"], tmp_path)
    captioner = Captioner([Scene("sticker", (Item("cat", "animal"),), None)], tokenizer)

    def mean(late: float) -> float:
        batch = captioner.batch(400, np.random.default_rng(0), late=late, half_size=True)
        assert batch.timesteps.min() >= 0 and batch.timesteps.max() < 1000
        return batch.timesteps.float().mean().item()

    assert mean(1.0) == pytest.approx(500, abs=50)
    assert mean(3.0) == pytest.approx(750, abs=50)


def test_references_stand_where_the_markers_are() -> None:
    embedding = torch.nn.Embedding(5, 2)
    vectors = torch.arange(8.0).view(2, 2, 2)
    with references.placed(embedding, 3, vectors):
        states = embedding(torch.tensor([[1, 3, 3], [3, 2, 3]]))
    assert torch.equal(states[0, 1:], vectors[0])
    assert torch.equal(states[1, ::2], vectors[1])
    assert torch.equal(states[1, 1], embedding.weight[2])
    assert torch.equal(embedding(torch.tensor([3]))[0], embedding.weight[3])


def test_pictures_are_composed_by_part_and_encoded_once(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PART", 32)  # of a thousand, every picture would be made the same way
    parts = parts_of(tmp_path / "pictures", 33)
    assert len(parts) == 2
    compose_parts(composer, parts[:1], processes=2)
    composed = read_pictures(parts[0])
    assert composed.shape == (32, PICTURE_PX, PICTURE_PX, 3)
    again = tmp_path / "again" / parts[0].name
    compose_parts(composer, [again], processes=1)
    assert np.array_equal(composed, read_pictures(again))
    model = build_autoencoder()
    small = tmp_path / parts[0].name
    with np.load(parts[0]) as stored:
        np.savez(small, pictures=stored["pictures"][:8], scenes=stored["scenes"][:8])
    bank = build_latents(model, [small], tmp_path / "latents")
    assert bank.latents.shape == (8, 4, 32, 32)
    assert bank.scenes == read_scenes(small)
    assert bank.latents[::7].astype(np.float32).std() == pytest.approx(1, abs=0.01)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert np.array_equal(build_latents(model, [small], tmp_path / "latents").latents, bank.latents)


def test_crops_are_pieces_of_the_pictures_or_of_pictures_at_half_their_size() -> None:
    rows = np.tile(np.arange(128, dtype=np.uint8)[None, :, None, None], (2, 1, 128, 3))
    crops = Crops(rows, np.zeros((1, 256, 256, 3), np.uint8), rows, torch.device("cpu"))
    batch = (crops.batch(64, np.random.default_rng(0)) + 1) * 127.5
    assert batch.shape == (64, 3, CROP_PX, CROP_PX)
    steps = batch[:, 0, 1:, 0] - batch[:, 0, :-1, 0]
    assert torch.allclose(steps[:32], torch.ones(32, CROP_PX - 1), atol=1e-3)
    assert torch.equal(steps[32:48], torch.zeros(16, CROP_PX - 1))
    assert {round(step.mean().item()) for step in steps[48:]} == {1, 2}


def test_stages_of_another_recipe_are_told_apart(tmp_path: Path) -> None:
    things = load_things()
    assert pictures_key(things, 3) == pictures_key(load_things(), 3)
    assert len({pictures_key(things, 3), pictures_key(things[1:], 3), pictures_key(things, 4)}) == 3
    torch.manual_seed(0)
    first, second = build_autoencoder(), build_autoencoder()
    words = [build_tokenizer(["a", noun], tmp_path / noun) for noun in ("cat", "dog")]
    keys = {denoiser_key(vae, tokens, "cpu") for vae in (first, second) for tokens in words}
    assert len(keys) == 4
    assert denoiser_key(first, words[0], "cpu") in keys
    assert denoiser_key(first, words[0], "cuda") not in keys


def test_training_can_go_on_from_the_published_starter(tmp_path: Path) -> None:
    tokenizer = adopt_tokenizer(STARTER_FOLDER, tmp_path / "tokenizer", max_tokens=40)
    assert tokenizer.model_max_length == 40
    model = TextAndDenoiser(tokenizer)
    before = model.unet.conv_in.weight.clone()
    load_weights(model.text_encoder, model.unet, STARTER_FOLDER)
    assert not torch.equal(model.unet.conv_in.weight, before)
    ids = tokenizer(["a cat"], padding="max_length", return_tensors="pt").input_ids
    assert model.text_states(ids, torch.zeros(1, 4, 32, 32)).shape == (1, 40, 160)


@pytest.mark.slow  # quick: the lost training below, which keeps its savepoint
def test_killed_training_of_the_denoiser_goes_on_as_if_nothing_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "DENOISER_CHANNELS", (32, 32, 32, 32))  # every layer is there, a twentieth as large
    tokenizer = build_tokenizer(["a", "cat", "dog", *STYLES, *COLOURS], tmp_path / "tokenizer")
    rng = np.random.default_rng(0)
    scenes = [Scene("sticker", (Item("cat", "animal"),), "red")] * 6
    bank = LatentBank(rng.standard_normal((6, 4, 32, 32)).astype(np.float16), scenes, 1.0)
    plan = DenoiserPlan(steps=2, cooldown=1, batch=1, warmup=1, save_every=1)
    torch.set_num_threads(1)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = train_denoiser(bank, tokenizer, tmp_path / "whole", plan)
    stopped = DenoiserPlan(steps=1, cooldown=1, batch=1, warmup=1, save_every=1)
    train_denoiser(bank, tokenizer, tmp_path / "parts", stopped)
    assert savepoint.load(tmp_path / "parts" / "denoiser.pt")["step"] == 1
    parts = train_denoiser(bank, tokenizer, tmp_path / "parts", plan)
    for ours, theirs in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    curve = [line.split(",") for line in (tmp_path / "parts" / "denoiser.curve.csv").read_text().splitlines()]
    assert [int(step) for step, _ in curve] == [1, 2]


def test_helpers_take_steps_of_the_same_model_and_end_with_the_training(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = torch.nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters())
    taken = tmp_path / "taken"

    def loss_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        with taken.open("a") as file:
            file.write(f"{os.getpid()} {step}\n")
        if step == 0:  # whoever takes this one leaves the others to the helper until that has come
            wait_until(lambda: len({line.split()[0] for line in taken.read_text().splitlines()}) == 2)
        loss = (model(torch.ones(1, 4)) - 3).pow(2).sum()
        return loss, loss.detach()

    average = savepoint.Average(model, 0.5)
    pace = Pace(steps=200, save_every=50, workers=2)
    stepper = Stepper(model, optimizer, lambda _: 0.05, loss_at)
    train_resumably(model, optimizer, average, tmp_path / "m.pt", pace, stepper)
    pids, steps = zip(*(line.split() for line in taken.read_text().splitlines()), strict=True)
    assert len(set(pids)) == 2 and len(set(steps)) == len(steps)
    assert not multiprocessing.active_children()
    assert model(torch.ones(1, 4)).item() == pytest.approx(3, abs=1e-3)


def test_training_that_is_lost_stops_and_keeps_its_last_savepoint(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters())

    def loss_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        loss = model(torch.ones(1, 1)).sum() * (torch.nan if step == 5 else 1)
        return loss, loss.detach()

    average = savepoint.Average(model, 0.5)
    stepper = Stepper(model, optimizer, lambda _: 0.1, loss_at)
    with pytest.raises(FloatingPointError, match="step 6"):
        train_resumably(model, optimizer, average, tmp_path / "m.pt", Pace(steps=9, save_every=3), stepper)
    kept = savepoint.load(tmp_path / "m.pt")
    assert kept is not None and kept["step"] == 3
    assert torch.isfinite(kept["model"]["weight"]).all()

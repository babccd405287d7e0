"""The learning benchmark's measures, on feature vectors and pictures that are made up here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from tests.benchmarks.learning import measures
from tests.benchmarks.learning.colours import background_obeys
from tests.benchmarks.learning.intervals import bootstrap
from tests.benchmarks.learning.retrieval import build_references, top_share
from tests.benchmarks.learning.starter_report import plan_prompts
from tests.benchmarks.learning.summary import dominated, score
from trainer.photos.colours import COLOURS, border_shares
from trainer.starter.scenes import STYLES

WIDTH = 16


def around(axis: int, count: int, *, spread: float = 0.05, seed: int = 0) -> torch.Tensor:
    """Vectors of length 1 near one axis: pictures of one subject."""
    centre = torch.eye(WIDTH)[axis]
    return normalize(centre + spread * torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=1)


TRAIN, COMPARE, OTHERS = around(0, 4, seed=1), around(0, 4, seed=2), around(1, 8, seed=3)


def test_likeness_is_one_for_real_pictures_and_zero_for_other_subjects() -> None:
    assert measures.subject_likeness(around(0, 6, seed=4), COMPARE, TRAIN, OTHERS) == pytest.approx(1.0, abs=0.1)
    assert measures.subject_likeness(around(1, 6, seed=4), COMPARE, TRAIN, OTHERS) == pytest.approx(0.0, abs=0.1)
    between = normalize(around(0, 6) + around(1, 6), dim=1)
    assert 0.5 < measures.subject_likeness(between, COMPARE, TRAIN, OTHERS) < 0.9


def test_likeness_goes_beyond_its_scale() -> None:
    worse = measures.subject_likeness(-COMPARE, COMPARE, TRAIN, OTHERS)
    exact = measures.subject_likeness(
        torch.eye(WIDTH)[:1], COMPARE, TRAIN, OTHERS
    )  # nearer than they are to each other
    assert worse < 0 < 1 < exact


def test_likeness_compares_with_the_pictures_that_were_kept_from_training() -> None:
    far_half = around(2, 4, seed=5)
    trained_on_only = measures.subject_likeness(TRAIN, far_half, TRAIN, OTHERS)
    assert trained_on_only == pytest.approx(0.0, abs=0.15)


def test_copies_of_training_pictures_are_over_the_limit_of_memorisation_and_new_pictures_are_not() -> None:
    train, compare = around(0, 4, spread=0.1, seed=1), around(0, 40, spread=0.1, seed=2)
    limit = measures.memorisation_limit(train, compare)
    assert measures.memorisation(train, train) == pytest.approx(1.0)
    assert measures.memorisation(train, train) > limit
    assert measures.memorisation(around(0, 40, spread=0.1, seed=3), train) < limit


def test_pairs_that_are_left_out_count_neither_for_nor_against_likeness() -> None:
    own, real = torch.eye(3)[:1], torch.eye(3)
    assert measures.mean_cosine(own, real) == pytest.approx(1 / 3)
    assert measures.mean_cosine(own, real, torch.tensor([[False, True, True]])) == 0


def test_a_few_copies_among_many_pictures_are_seen() -> None:
    train, drawn = torch.eye(4)[:2], torch.eye(4)
    assert measures.memorisation(drawn, train) == 0.5
    assert measures.share_over(drawn, train, 0.7) == 0.5


def test_limit_of_memorisation_leaves_out_a_pictures_likeness_to_itself() -> None:
    assert measures.memorisation_limit(torch.eye(WIDTH)[:2], torch.eye(WIDTH)[2:4]) == pytest.approx(0.0)


def test_diversity_is_zero_for_one_picture_again_and_again() -> None:
    same = TRAIN[:1].expand(4, -1)
    assert measures.diversity(same) == pytest.approx(0.0, abs=1e-6)
    assert measures.diversity(torch.eye(WIDTH)[:3]) == pytest.approx(1.0)


def test_drift_compares_pictures_of_the_same_seed() -> None:
    pictures = torch.eye(WIDTH)[:3]
    assert measures.drift(pictures, pictures) == pytest.approx(0.0)
    assert measures.drift(pictures, pictures.roll(1, 0)) == pytest.approx(1.0)


def test_answers_are_found_whatever_the_subject_looks_like() -> None:
    looks = 3 * torch.eye(WIDTH)[9]
    references = {"drawing": around(0, 4), "sticker": around(1, 4), "photo": around(2, 4)}
    drawn = {name: normalize(looks + vectors, dim=1) for name, vectors in references.items()}
    given = measures.answers(drawn, references)
    assert given == {name: [name] * 4 for name in references}
    assert measures.share_right(given, ["drawing", "sticker"]) == 1.0


def test_a_model_that_ignores_the_prompt_is_right_by_chance_only() -> None:
    references = {name: around(axis, 4) for axis, name in enumerate(("drawing", "sticker", "photo"))}
    drawn = {name: around(7, 40, seed=axis) for axis, name in enumerate(references)}
    assert measures.share_right(measures.answers(drawn, references), list(references)) < 0.6


def test_mean_cosine_of_versions_leaves_out_what_each_is_a_version_of() -> None:
    real = torch.eye(WIDTH)[:3]
    assert measures.mean_other_cosine(real, real) == pytest.approx(0.0)
    assert measures.mean_cosine(real, real) == pytest.approx(1 / 3)


def test_nearest_reference_names_the_thing() -> None:
    references = build_references(["cat", "cat", "dog", "tree"], torch.cat([around(0, 2), around(1, 1), around(2, 1)]))
    rankings = references.ranking(torch.cat([around(0, 1, seed=8), around(2, 1, seed=8)]))
    assert [ranking[0] for ranking in rankings] == ["cat", "tree"]
    assert sorted(rankings[0]) == ["cat", "dog", "tree"]
    assert top_share(rankings, ["cat", "dog"], 1) == 0.5
    assert top_share(rankings, ["cat", "dog"], 3) == 1.0


@pytest.mark.parametrize("colour", COLOURS)
def test_background_is_read_from_the_borders_alone(colour: str) -> None:
    picture = np.empty((128, 128, 3), np.uint8)
    picture[:] = COLOURS[colour]
    other = next(c for c in COLOURS if c != colour)
    picture[16:112, 16:112] = COLOURS[other]
    assert background_obeys(Image.fromarray(picture), colour)
    assert not background_obeys(Image.fromarray(picture), other)


def test_background_of_many_colours_obeys_none() -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1))
    assert not any(background_obeys(noise, colour) for colour in COLOURS)
    assert sum(border_shares(noise).values()) == pytest.approx(1.0)


def test_interval_holds_the_median_and_shrinks_to_it_for_equal_subjects() -> None:
    spread = bootstrap({f"s{i}": [i / 10] for i in range(10)}, np.median)
    assert spread.value == pytest.approx(0.45)
    assert spread.low < spread.value < spread.high
    equal = bootstrap({"a": [0.5, 0.5], "b": [0.5]}, np.median)
    assert (equal.low, equal.value, equal.high) == (0.5, 0.5, 0.5)


def test_front_and_score_want_both_figures() -> None:
    points = [(0.9, 0.2), (0.6, 0.6), (0.5, 0.5), (-0.2, 0.9)]
    assert [dominated(*point, points) for point in points] == [False, False, True, False]
    assert max(points, key=lambda p: score(*p)) == (0.6, 0.6)
    assert score(0.0, 0.0) == 0.0


def test_prompts_of_the_starter_report_go_round_things_styles_and_colours() -> None:
    nouns = [f"thing{number}" for number in range(213)]
    asked = plan_prompts(nouns, 220)
    assert asked == plan_prompts(nouns, 220)
    assert {one.noun for one in asked} == set(nouns)
    assert {one.colour for one in asked} == set(COLOURS)
    assert {one.style for one in asked} == set(STYLES)
    assert asked[0].prompt == f"a {asked[0].style} of a {asked[0].noun} on a red background"
    assert all(one.tint != one.colour for one in plan_prompts(nouns, 30, tinted=True))

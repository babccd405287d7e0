from __future__ import annotations

import math

import pytest
import torch

from trainer.engine.loss import example_weights, min_snr_weights, signal_to_noise, weighted_loss


def test_snr_is_abar_over_one_minus_abar() -> None:
    abar = torch.tensor([0.9, 0.5, 0.2])
    assert torch.allclose(signal_to_noise(abar, torch.tensor([0, 2, 1])), torch.tensor([9.0, 0.25, 1.0]))


@pytest.mark.parametrize(
    ("snr", "prediction", "weight"),
    [(10.0, "epsilon", 0.5), (2.0, "epsilon", 1.0), (10.0, "v_prediction", 5 / 11), (2.0, "v_prediction", 2 / 3)],
)
def test_min_snr_weights_by_hand(snr: float, prediction: str, weight: float) -> None:
    assert math.isclose(min_snr_weights(torch.tensor([snr]), 5.0, prediction).item(), weight, rel_tol=1e-6)  # type: ignore[arg-type]


def test_min_snr_is_defined_at_pure_noise() -> None:
    assert torch.isfinite(min_snr_weights(torch.tensor([0.0]), 5.0, "epsilon")).all()
    assert min_snr_weights(torch.tensor([0.0]), 5.0, "v_prediction").item() == 0


def test_plain_loss_is_the_mean() -> None:
    prediction, target = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    ours = weighted_loss(prediction, target, torch.ones(3), 3)
    assert torch.allclose(ours, torch.nn.functional.mse_loss(prediction, target))


@pytest.mark.parametrize("own", [1, 2])
def test_prior_loss_is_instance_mean_plus_lambda_prior_mean(own: int) -> None:
    prediction, target = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    weights = example_weights(snr=torch.ones(4), own=own, prior_weight=0.3, min_snr_gamma=None, prediction="epsilon")
    mse = torch.nn.functional.mse_loss
    by_hand = mse(prediction[:own], target[:own]) + 0.3 * mse(prediction[own:], target[own:])
    assert torch.allclose(weighted_loss(prediction, target, weights, own), by_hand)


def test_min_snr_and_prior_together_weigh_each_example_by_its_own_timestep() -> None:
    # two own and two class pictures: the case that breaks or silently averages in other trainers
    snr = torch.tensor([10.0, 1.0, 20.0, 2.0])
    weights = example_weights(snr=snr, own=2, prior_weight=0.5, min_snr_gamma=5.0, prediction="epsilon")
    assert torch.allclose(weights, torch.tensor([0.5, 1.0, 0.125, 0.5]))
    prediction, target = torch.ones(4, 1, 1, 1), torch.zeros(4, 1, 1, 1)
    assert math.isclose(weighted_loss(prediction, target, weights, 2).item(), 0.75 + 0.3125, rel_tol=1e-6)


def test_half_precision_predictions_are_compared_in_fp32() -> None:
    loss = weighted_loss(torch.full((1, 1, 1, 1), 300.0).half(), torch.zeros(1, 1, 1, 1).half(), torch.ones(1), 1)
    assert loss.item() == 90_000.0
    assert loss.dtype is torch.float32


def test_places_count_as_they_are_weighted() -> None:
    prediction, target = torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 3.0]], [[1.0, 3.0]]]])
    place_weights = torch.tensor([[[[1.5, 0.5]]]])
    loss = weighted_loss(prediction, target, torch.ones(1), 1, place_weights)
    assert math.isclose(loss.item(), (1.5 * 1 + 0.5 * 9) / 2)

"""The training objective as a pure function of tensors, with one weight per example."""

from __future__ import annotations

from typing import Literal

import torch

PredictionType = Literal["epsilon", "v_prediction"]


def signal_to_noise(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """SNR of each example, [batch]: abar / (1 - abar), in fp32."""
    abar = alphas_cumprod.float()[timesteps]
    return abar / (1 - abar)


def min_snr_weights(snr: torch.Tensor, gamma: float, prediction: PredictionType) -> torch.Tensor:
    """Min-SNR weights, [batch] (Hang et al. 2023, arXiv 2303.09556).

    min(SNR, gamma) / SNR for noise prediction, min(SNR, gamma) / (SNR + 1) for v-prediction.
    """
    clipped = snr.clamp(max=gamma)
    if prediction == "v_prediction":
        return clipped / (snr + 1)
    return torch.where(snr > 0, clipped / snr.clamp(min=1e-20), torch.ones_like(snr))


def example_weights(
    *,
    snr: torch.Tensor,
    own: int,
    prior_weight: float,
    min_snr_gamma: float | None,
    prediction: PredictionType,
) -> torch.Tensor:
    """One weight per example, [batch], each times min-SNR.

    1 for the concept's examples, which are the first `own`, and `prior_weight` for those of its class.
    """
    weights = torch.ones_like(snr)
    weights[own:] = prior_weight
    if min_snr_gamma is not None:
        weights = weights * min_snr_weights(snr, min_snr_gamma, prediction)
    return weights


def weighted_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    weights: torch.Tensor,
    own: int,
    place_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """mean over the concept's examples + mean over the class examples, each example weighted; a scalar in fp32.

    `prediction` and `target` are [batch, channels, height, width]; `weights` is [batch]; the first `own` examples are
    the concept's. `place_weights` [batch, 1, height, width] is how much each place counts, 1 on average; None: all the
    same. Without class examples this is the plain mean; with them it is DreamBooth's L_instance + lambda * L_prior.
    """
    errors = (prediction.float() - target.float()).pow(2)
    per_example = (errors if place_weights is None else errors * place_weights).flatten(1).mean(1) * weights
    concept = per_example[:own].mean()
    return concept if own == len(per_example) else concept + per_example[own:].mean()

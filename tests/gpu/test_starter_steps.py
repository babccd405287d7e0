"""The starter's training steps on a GPU: what is recorded once does what ordinary steps do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from trainer.starter.batches import Batch
from trainer.starter.graphed import WARM_UPS, GraphedStepper


def _batches(step: int) -> Iterator[Batch]:
    """Six small batches, then larger ones: a second recording."""
    while True:
        size = 4 if step < 6 else 8
        numbers = torch.randn(size, 16, generator=torch.Generator().manual_seed(step))
        yield Batch(numbers.pin_memory(), numbers, numbers, numbers, step < 6)
        step += 1


def test_recorded_steps_are_those_that_would_have_been_taken() -> None:
    weights = []
    for recorded in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(16, 16).cuda()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True, capturable=True)

        def loss_of(batch: Batch, model: torch.nn.Module = model) -> torch.Tensor:
            return (model(batch.pictures.cuda()) - 1).pow(2).mean()

        if recorded:
            stepper = GraphedStepper(model, optimizer, lambda _: 0.01, _batches, loss_of)
            stepper.start_at(0)
            numbers = [stepper.step()[1].item() for _ in range(12)]
            assert numbers[5] < numbers[0]
            assert numbers[11] < numbers[6]
        else:
            _take_ordinary_steps(model, optimizer, loss_of)
        weights.append(model.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-5)


def _take_ordinary_steps(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss_of: Callable[[Batch], torch.Tensor]
) -> None:
    """The same steps; a recording starts with real steps of its first batch."""
    batches = _batches(0)
    for step in range(12):
        batch = next(batches)
        for _ in range(1 + (WARM_UPS if step in (0, 6) else 0)):
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(0.01, device="cuda")
            optimizer.zero_grad()
            loss_of(batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

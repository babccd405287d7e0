"""Events as lines for a terminal."""

from __future__ import annotations

from trainer.events import (
    CheckpointWritten,
    Event,
    Failed,
    Finished,
    Measured,
    PhaseChanged,
    Preview,
    Started,
    Step,
    Stopped,
    Warned,
)
from trainer.quantities import duration


def narrate(event: Event) -> str:
    """One line about an event; empty where there is nothing to say."""
    match event:
        case Started():
            resumed = f", going on from step {event.resumed_from}" if event.resumed_from else ""
            return f"On {event.device} in {event.precision}, attention by {event.attention}{resumed}."
        case PhaseChanged():
            counted = f" {event.done} of {event.total}" if event.total and event.done is not None else ""
            return f"{event.phase.value}{counted}{f' {event.unit}' if counted and event.unit else ''}"
        case Step():
            left = duration(event.eta_s)
            return (
                f"step {event.step} of {event.total}  loss {event.loss:.4f}  "
                f"{event.steps_per_second:.2f} steps/s  {left} left"
            )
        case Preview():
            return f"preview at step {event.step}: {', '.join(event.files)}"
        case CheckpointWritten():
            return f"checkpoint {event.path}"
        case Warned():
            return f"Note: {event.text}"
        case Measured():
            return (
                f"{event.knows_subject:.0%} of the base's error on the photos is gone; "
                f"predictions for other prompts moved by {event.changed_elsewhere:.1%} of it"
            )
        case Finished():
            return f"Finished and verified in {duration(event.seconds)}: {event.artifact}"
        case Stopped() | Failed():
            return ""  # the exit says it

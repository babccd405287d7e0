"""What is learnt. A method knows its parameters, its text states and its files; it knows nothing of model lines."""

from trainer.engine.methods.base import ParameterGroup, TrainingMethod
from trainer.engine.methods.preparing import prepare_method

__all__ = ["ParameterGroup", "TrainingMethod", "prepare_method"]

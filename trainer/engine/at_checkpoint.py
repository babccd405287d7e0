"""A concept as it was at a checkpoint of its training, in place of its result."""

from __future__ import annotations

from safetensors import SafetensorError

from trainer.concept import ConceptWords
from trainer.engine.checkpoint import result_at
from trainer.engine.export.adapters import put_adapter
from trainer.engine.export.embeddings import put_rows
from trainer.engine.export.pipeline_folder import put_parts
from trainer.engine.families import StockPipeline
from trainer.engine.methods.textual_inversion import stored_rows
from trainer.errors import ConceptError
from trainer.recipe.choices import Method
from trainer.run_folder import RunFolder


def put_checkpoint(pipeline: StockPipeline, run: RunFolder, step: int, words: ConceptWords, adapter: str) -> None:
    """Put a checkpoint's weights where those of the run's result are loaded; `adapter` is a LoRA's name there.

    Nothing of the result remains: a checkpoint has every weight that was trained. Raises ConceptError where it is gone.
    """
    try:
        weights = result_at(run, step)
        match words.method:
            case Method.textual_inversion:
                put_rows(pipeline, words, stored_rows(weights))
            case Method.dreambooth_lora:
                put_adapter(pipeline, adapter, weights)
            case Method.dreambooth:
                put_parts(pipeline, weights)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConceptError(f"The checkpoint of {words.placeholder} at step {step} is gone or damaged.") from error

"""Model lines. A family knows how to load, encode, noise and predict; it knows nothing of what is being learnt."""

from trainer.engine.families.base import Family, Posterior, StockPipeline, stock_pipeline
from trainer.engine.families.conditioning import Conditioning
from trainer.engine.families.opening import keep_only_trained, open_family

__all__ = ["Conditioning", "Family", "Posterior", "StockPipeline", "keep_only_trained", "open_family", "stock_pipeline"]

"""Model lines. A family knows how to load, encode, noise and predict; it knows nothing of what is being learnt.

`Family` is Stable Diffusion's class, of which XL's is one: what else is built must offer the same.
"""

from trainer.engine.families.base import Posterior, StockPipeline, stock_pipeline
from trainer.engine.families.conditioning import Conditioning
from trainer.engine.families.opening import keep_only_trained, open_family
from trainer.engine.families.stable_diffusion import StableDiffusion as Family

__all__ = ["Conditioning", "Family", "Posterior", "StockPipeline", "keep_only_trained", "open_family", "stock_pipeline"]

"""The recipe: everything that determines a training run, its presets, and what stands behind them."""

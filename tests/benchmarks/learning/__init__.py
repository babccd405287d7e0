"""What is learnt, measured: `python -m tests.benchmarks.learning`. See README.md of this folder."""

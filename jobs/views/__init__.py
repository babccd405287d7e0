"""What screens show of jobs: how far they are, how long things take, and two of them side by side."""

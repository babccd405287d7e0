"""A copy of all jobs in a folder that outlives this machine's disk, and the way back from there."""

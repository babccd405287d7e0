"""Running jobs: the supervisor sees each through, whoever trains it; here, a device of this machine does."""

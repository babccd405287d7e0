"""What hired hardware costs, who may spend it, and giving it back in time."""

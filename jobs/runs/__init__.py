"""What runs say of themselves, and what that teaches about the next ones: how long they take, how much memory."""

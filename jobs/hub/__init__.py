"""Talking to the Hugging Face Hub: its client, with errors in words, its prices, when to try again, and whose token."""

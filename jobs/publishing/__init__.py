"""Bringing finished concepts to the Hugging Face Hub."""

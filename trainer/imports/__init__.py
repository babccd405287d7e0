"""Concepts that are not trained here: made elsewhere and judged before anything is loaded, or extracted."""

"""Artifacts: written, re-opened, and tried before they count."""

"""Concepts and models made elsewhere, and LoRAs extracted from full models: brought into exactly our own layout."""

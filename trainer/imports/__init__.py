"""Concepts made elsewhere: which file it is, what it holds and whether it fits, before anything is loaded."""

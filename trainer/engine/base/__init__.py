"""The files of a base model: a folder as it is, a snapshot from the Hub, or one file converted."""

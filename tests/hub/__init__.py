"""A local Hugging Face Hub that the real client library talks to over HTTP on loopback."""

"""Deleting tuned models, and saying before what depends on them."""

"""Deleting tuned models, and listing what depends on them."""

"""Deleting: files, models and whole projects, here and upstream; and what is kept of them (docs/deleting.md)."""

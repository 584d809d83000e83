"""Uploads: large files that come in parts, joined into an ordinary file at the end."""

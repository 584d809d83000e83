"""Uploads: large files that are sent in parts, which are joined into an ordinary file at the end."""

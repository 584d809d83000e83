"""Permissions to use the tuned models of other projects."""

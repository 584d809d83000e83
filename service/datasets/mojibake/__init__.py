"""Finds texts that were decoded with a wrong encoding, and restores them."""

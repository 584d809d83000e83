"""Limits of projects: concurrent and queued jobs, storage, training tokens, request rates. Administrators set them."""

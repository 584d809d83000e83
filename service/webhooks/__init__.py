"""Webhooks out: endpoints, signed deliveries, and their schedule."""

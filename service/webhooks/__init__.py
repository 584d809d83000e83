"""Outgoing webhooks: endpoints, events, signed deliveries and their retry schedule."""

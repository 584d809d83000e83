"""The OpenAI-compatible HTTP API: translates between requests and rows."""

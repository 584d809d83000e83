"""Open models: what the gateway reads of their folders in Hugging Face layout, and how it counts their tokens."""

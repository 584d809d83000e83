"""The OpenAI-shaped HTTP side: translates between the wire and the rows."""

"""`tunegate demo`: fine-tunes a byte model, or with `--llm` a small language model, and shows every step."""

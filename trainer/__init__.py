"""An OpenAI-compatible upstream that really trains: see README.md."""

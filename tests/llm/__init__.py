"""Tests of real language models. They need torch, so they run in an environment of their own: `make test-llm`."""

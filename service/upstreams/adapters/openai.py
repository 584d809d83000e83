"""The adapter for OpenAI and for every server that implements its API."""

from service.upstreams.adapters.files import FileCalls
from service.upstreams.adapters.inference import InferenceClient
from service.upstreams.adapters.jobs import JobCalls


class OpenAIUpstream(FileCalls, JobCalls, InferenceClient):
    """One account at an OpenAI-compatible base URL."""

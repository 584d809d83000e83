"""Hands inference to vLLM: publishes adapters into the folder of its resolver and passes requests on."""

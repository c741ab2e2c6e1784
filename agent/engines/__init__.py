"""Engines run language models: an OpenAI-compatible server, or vLLM in this process."""

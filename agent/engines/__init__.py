"""What runs a language model: an OpenAI-compatible server, or vLLM in this process."""

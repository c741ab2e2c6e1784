"""The service behind OpenAI's API."""

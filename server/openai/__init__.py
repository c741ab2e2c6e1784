"""The service in the shapes of OpenAI's API."""

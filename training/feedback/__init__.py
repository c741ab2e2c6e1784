"""Feedback: how useful each document of a person was to the LLM that answered a question with it."""

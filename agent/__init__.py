"""Answers one question for one user: think, search the profile, read, answer with citations."""

"""Policies write the next text of an episode."""

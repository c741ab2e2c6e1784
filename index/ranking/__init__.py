"""Ranks the passages of one user's profile for a query."""

"""Ranking one person's profile for a query."""

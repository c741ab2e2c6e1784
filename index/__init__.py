"""Stores users' documents with their vectors, and ranks one user's profile for a query."""

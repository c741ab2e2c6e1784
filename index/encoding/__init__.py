"""Converts text to vectors."""

"""Reads the times that a question names, as windows of days."""

"""Durable storage of profiles and answers."""

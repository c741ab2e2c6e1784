"""Imports of many users at once: side by side in processes, or on a Ray cluster."""

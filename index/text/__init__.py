"""Splits text into words, sentences and passages."""

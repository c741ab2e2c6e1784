"""Tests of selectors: data, loss, training, and measures."""

"""Measures on a CPU what PrLM's reward model adds to a reward that sees an answer's content alone."""

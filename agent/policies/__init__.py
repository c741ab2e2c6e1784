"""What writes the next text of an episode."""

"""LaMP: short outputs that fit one person, in seven tasks (arXiv 2304.11406)."""

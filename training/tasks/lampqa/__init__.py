"""LaMP-QA: how well answers fit the person who asked, measured as published (arXiv 2506.00137)."""

"""Training the search policy."""

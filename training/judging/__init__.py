"""Judges that score an answer against one aspect of a rubric, and how far people agree with them."""

"""One question, answered for one person: think, search the profile, read, answer with citations."""

"""What a user has, and finding it: documents, their vectors, and rankings over one person's profile."""

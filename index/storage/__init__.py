"""What is kept, and how durably."""

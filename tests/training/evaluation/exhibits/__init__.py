"""Tests of the exhibits of arXiv 2404.05970."""

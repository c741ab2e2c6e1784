"""Tests of index/when."""

"""Tests of reward models: pairs, training, scores, and the made world."""

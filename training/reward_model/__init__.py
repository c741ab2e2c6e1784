"""Reward models: trained to tell answers that fit a person from those that do not."""

"""Readers of exported histories, over files as the apps write them."""

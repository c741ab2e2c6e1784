"""Trains and measures selectors, which choose a retriever for each input (RSPG)."""

"""Retrievers that learn from the LLM (ROPG): an encoder is trained on how useful its documents were."""

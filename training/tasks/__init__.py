"""Data sets with their questions, references and file formats."""

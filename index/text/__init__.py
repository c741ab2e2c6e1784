"""Words, sentences and passages: how text is taken apart."""

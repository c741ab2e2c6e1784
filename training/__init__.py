"""Learning and measuring, offline."""

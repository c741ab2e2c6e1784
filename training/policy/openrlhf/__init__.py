"""The parts that OpenRLHF loads."""

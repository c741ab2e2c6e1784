"""Settings of a training on OpenRLHF that fit a model and a machine, each a file that can be read."""

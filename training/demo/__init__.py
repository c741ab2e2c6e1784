"""Proves that the whole loop learns: trains a tiny model in a made-up world, on a CPU, through the service's
own episodes, rewards and advantages."""

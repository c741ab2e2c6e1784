"""Proof that the whole loop learns: a tiny model, in a made-up world, trained on a CPU through the service's
own episodes, rewards and advantages."""

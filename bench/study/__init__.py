"""What may be asked: the study file, its axes, the typed options of every method and protocol, the plan."""

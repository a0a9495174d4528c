"""How weights are learned: one loop, its optimiser and its schedule."""

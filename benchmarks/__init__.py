"""How fast the engine is, beside what the machine can do at most and beside its peers, in one run."""

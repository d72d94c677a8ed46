"""A run: prepare, plan, tune, train, score, summarise."""

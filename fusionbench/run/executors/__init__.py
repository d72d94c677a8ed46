"""Who does the work of a run."""

"""Built-in observers of runs, one file each: what is written and tracked when a run ends."""

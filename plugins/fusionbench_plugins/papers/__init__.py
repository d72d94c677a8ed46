"""Papers whose published values stand beside ours, and whose tables and figures the benchmark files ask again."""

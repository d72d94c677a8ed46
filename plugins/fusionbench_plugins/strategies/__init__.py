"""Built-in strategies, one file each."""

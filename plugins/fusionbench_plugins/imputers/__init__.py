"""Built-in imputers, one file each."""

"""Built-in missingness, one file each."""

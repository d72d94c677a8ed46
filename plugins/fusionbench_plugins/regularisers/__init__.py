"""Built-in regularisers, one file each."""

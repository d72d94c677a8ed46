"""``fusionbench reproduce``: every table and figure of a paper, asked again."""

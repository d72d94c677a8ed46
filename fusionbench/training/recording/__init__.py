"""A pure function of tensors taken down as a list of operators, cleaned, and run again without Python's share of it."""

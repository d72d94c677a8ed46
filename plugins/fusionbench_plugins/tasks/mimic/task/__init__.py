"""The tasks: options to steps, steps to a data set, and what there is to know about the files."""

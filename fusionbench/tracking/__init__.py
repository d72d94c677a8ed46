"""A run's summary as what a tracking server is told of it."""

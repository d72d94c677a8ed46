"""Who says what of several modalities, a map of such regimes, and where a data set lies on it."""

"""Maps of regimes: the sweep as a picture, and where a data set lies on it."""

"""Numbers for predictions: scores, intervals, tests."""

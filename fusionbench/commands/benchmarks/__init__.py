"""Benchmark files as a user meets them: which there are, a new one, what an editor knows of them, the page that they leave."""

"""Who could be the best: scores with what patients contribute, the cells that are compared, leaderboard, pairs and warnings."""

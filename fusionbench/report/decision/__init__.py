"""What a reader with one minute needs: the answer, the decision table, differences as curves, cost, line by line."""

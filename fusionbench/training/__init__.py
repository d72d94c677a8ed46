"""The one training loop, and what it trains: models, stacked into populations."""

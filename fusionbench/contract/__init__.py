"""The contract: what plugins are, what they are given, how they are registered and kept apart."""

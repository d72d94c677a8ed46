"""Chest pictures and reports: which belong to a stay, and what is read of them."""

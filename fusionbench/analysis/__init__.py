"""From stored predictions to tables."""

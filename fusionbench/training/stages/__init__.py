"""One stage of training: its order, its steps, its stopping."""

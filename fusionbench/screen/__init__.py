"""What a run shows while it lasts: a screen for people, lines for programs."""

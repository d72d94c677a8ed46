"""What a device can do, and how work is laid on it."""

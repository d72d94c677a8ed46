"""What is predicted: an outcome, its labels, and which stays have one."""

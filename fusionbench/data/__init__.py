"""From a task's data set to the rows that models are trained on: splits, features, tables."""

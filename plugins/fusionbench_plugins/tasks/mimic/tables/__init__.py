"""Reading the tables: where they lie, which variables and rows are wanted, and the arrays that are made of them."""

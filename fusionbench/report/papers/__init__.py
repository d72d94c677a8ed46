"""The page of a paper: every table and figure in the paper's order, published beside ours."""

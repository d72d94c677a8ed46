"""Tables for papers: LaTeX with booktabs, and the references that they cite."""

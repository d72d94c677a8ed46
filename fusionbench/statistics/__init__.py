"""The statistical rule: scores of lines in folds and seeds in, verdict out.

Arrays only; anybody may call it on results from elsewhere.
The rule itself, what it was tested with and what it does not promise are in ``docs/statistics.md``.
"""

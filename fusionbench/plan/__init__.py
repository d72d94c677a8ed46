"""From a benchmark to the work it means: parts, arms, studies, fits, and their keys."""

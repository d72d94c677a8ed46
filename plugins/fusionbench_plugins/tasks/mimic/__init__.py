"""MIMIC-IV with MIMIC-CXR: mortality and phenotyping from records, chest pictures and reports."""

"""Files of a user, read strictly: text, delimited tables, Parquet, arrays of NumPy. Every task reads them here."""

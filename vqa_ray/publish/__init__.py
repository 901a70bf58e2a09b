"""The rows of a finished run in a table of Iceberg, Delta, Lance or Parquet, committed once and as a whole."""

"""Answers that models have given, kept for later runs: content-addressed Parquet files in a directory or a bucket."""

"""The local page that shows an index or the results of a run."""

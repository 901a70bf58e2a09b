"""Taxonomies: the questions, choices and thresholds by which images are tagged."""

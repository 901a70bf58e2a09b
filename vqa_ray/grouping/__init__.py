"""Several photos of one product: the results of its photos, combined by a rule into one row with its evidence."""

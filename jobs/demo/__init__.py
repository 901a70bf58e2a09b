"""A small catalogue with known truth, and how well it was tagged and answered."""

"""The built-in product catalogue: rendered images with known truth."""

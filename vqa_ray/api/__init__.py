"""The public Python API: models in a notebook, callables for other engines, indexes and runs as tables."""

"""Search in an index: exact or approximate, filtered, verified by a question."""

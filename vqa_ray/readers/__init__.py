"""Input formats: bytes or text to rows and row errors, without Ray."""

"""Objects held to a schema: its fields, the JSON Schema that says them, and what models write about an image."""

"""The API: one package per resource, with types (messages), sql (statements), handlers (rules)."""

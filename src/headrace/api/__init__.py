"""One package per resource: types (messages), sql (statements), handlers (rules)."""

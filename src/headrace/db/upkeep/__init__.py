"""Statements of the commands that look after a database: `gc`, `doctor`, `backup`, `restore`."""

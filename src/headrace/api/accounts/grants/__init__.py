"""The users' own grants."""

"""Workspaces, which this server does not have: every row belongs to the one named `default`."""

"""Workspaces, which this server does not support: every row belongs to the workspace `default`."""

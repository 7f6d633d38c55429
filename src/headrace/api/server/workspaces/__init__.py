"""Workspaces: the tenants of one server. See `http.workspaces` for the workspace of a request."""

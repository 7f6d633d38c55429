"""Roles, their permissions, and their users."""

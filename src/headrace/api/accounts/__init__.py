"""Users, roles and grants: the routes of a server with users."""

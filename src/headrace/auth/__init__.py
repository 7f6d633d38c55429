"""Authorization: the rules of the routes."""

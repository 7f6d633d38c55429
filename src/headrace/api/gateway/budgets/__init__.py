"""Budgets of the AI gateway: limits of spending in a window of time."""

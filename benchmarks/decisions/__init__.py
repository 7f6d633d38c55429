"""The measurements behind docs/decisions: each file runs alone and prints its table."""

"""Import of experiments from other places, and export of experiments into a directory and back."""

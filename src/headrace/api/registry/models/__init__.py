"""Registered models, their tags and aliases; prompts are registered models too."""

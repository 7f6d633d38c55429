"""Bytes to Structs and back: the only package that knows HTTP."""

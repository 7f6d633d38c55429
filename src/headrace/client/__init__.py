"""The Python API without a server: `headrace.connect`."""

"""Information about the server for the web page."""

"""Uploads and downloads of artifacts, for the server's artifact store and for the web page."""

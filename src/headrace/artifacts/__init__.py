"""The bytes of artifacts, up and down: the artifact store of this server, and the downloads of the web page."""

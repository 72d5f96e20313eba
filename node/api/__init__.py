"""The local API: HTTP over the unix socket, for the command line and other local programs."""

"""The models that lie on this host and where they came from."""

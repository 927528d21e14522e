"""The two ways to the models of a host: over HTTP to its daemon, or its own library."""

"""The life of workers on this host: decide, start, watch, stop, adopt."""

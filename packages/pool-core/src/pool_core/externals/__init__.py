"""Engines that somebody else runs on or near this host, reported as workers of this pool."""

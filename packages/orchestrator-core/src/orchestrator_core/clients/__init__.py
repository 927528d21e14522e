"""Typed calls to the daemons: the only users of httpx in the suite."""

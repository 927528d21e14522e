"""Puts the daemon together: the HTTP app from the route table, the parts of the process."""

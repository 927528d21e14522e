"""Brings files from a hub to this host: resumable, verified, and never more trusted than needed."""

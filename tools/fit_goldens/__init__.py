"""Asks the embedded engine what well-known models take of memory."""

"""Answers on their way to clients: open calls, event readers, and what bounds them."""

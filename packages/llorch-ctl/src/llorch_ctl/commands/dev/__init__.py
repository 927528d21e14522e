"""llorch dev: what makes this machine ready, and what helps when something does not work."""

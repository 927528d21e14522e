"""Which models exist, under which names, and what a worker for one looks like."""

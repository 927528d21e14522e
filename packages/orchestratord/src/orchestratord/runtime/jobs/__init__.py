"""Jobs and calls while they live, and what is kept of them for a while."""

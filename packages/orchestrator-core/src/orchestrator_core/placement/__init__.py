"""Which worker runs a job and which pool gets a new worker, with the reasons."""

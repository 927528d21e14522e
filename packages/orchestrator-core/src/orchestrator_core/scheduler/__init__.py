"""The machine: facts in, orders out. It decides which worker runs which job, and nothing else."""

"""The composition: parts are made and wired here, and nowhere else."""

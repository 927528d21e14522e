"""Makes a host a pool over SSH, keeps it sound and undoes it: probe, plan, steps, checks."""

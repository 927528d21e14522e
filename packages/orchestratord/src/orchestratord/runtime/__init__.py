"""The loop around the machine: posts facts, performs commands, keeps the live jobs."""

"""llorch host: the machines that this user owns."""

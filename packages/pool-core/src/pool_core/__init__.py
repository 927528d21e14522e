"""What one host knows and can do: devices, models, workers."""

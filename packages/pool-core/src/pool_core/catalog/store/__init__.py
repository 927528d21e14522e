"""Where models lie: contents called by their hash, a record per model, names for engines."""

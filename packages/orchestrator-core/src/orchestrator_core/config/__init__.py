"""Where an installation keeps its files, and how its settings are read."""

"""The llorch command: one endpoint out of every machine you own."""

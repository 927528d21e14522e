"""The llorch-pool command: control one host."""

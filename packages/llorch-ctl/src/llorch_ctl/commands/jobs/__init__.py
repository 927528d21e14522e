"""llorch jobs: one file per verb, and what they share."""

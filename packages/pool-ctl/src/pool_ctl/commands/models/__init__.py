"""llorch-pool models: one file per verb, and what they share."""

"""llorch-pool git: its verbs, their options and what they show."""

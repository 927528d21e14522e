"""llorch keys: one file per verb, and what they share."""

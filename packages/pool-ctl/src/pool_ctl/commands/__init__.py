"""The verbs of llorch-pool, one file per noun; each loads only when it is called."""

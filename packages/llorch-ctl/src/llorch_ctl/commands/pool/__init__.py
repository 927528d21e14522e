"""llorch pool: the hosts of the cluster, and llorch-pool's own verbs at any host."""

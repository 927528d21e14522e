"""The hosts that a person names with --host: who they are, and the ways that lead to them."""

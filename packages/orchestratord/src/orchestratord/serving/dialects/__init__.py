"""Pure translation between what clients speak and what engines speak."""

"""What is known of pools and workers, folded from what pools report."""

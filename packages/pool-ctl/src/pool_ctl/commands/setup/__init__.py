"""llorch-pool dev setup: look, plan, act."""

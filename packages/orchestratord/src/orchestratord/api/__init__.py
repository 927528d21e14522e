"""What clients call: the edge, the hot routes and the control plane."""

"""FastAPI handlers of the control plane."""

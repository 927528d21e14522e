"""The side that faces workers: one fresh HTTP/1.1 connection per call, its answer untrusted."""

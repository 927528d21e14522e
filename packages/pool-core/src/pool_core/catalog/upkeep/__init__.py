"""What is done to models that are here: verified, deleted, cleaned up."""

"""What is wrong with this machine as the one that controls: facts are read, then judged."""

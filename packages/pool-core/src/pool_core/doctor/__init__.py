"""What is wrong with this host, and what helps: facts are read, then judged by pure functions."""

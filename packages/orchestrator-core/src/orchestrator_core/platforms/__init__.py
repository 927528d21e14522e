"""What the operating system knows about processes, ports and files."""

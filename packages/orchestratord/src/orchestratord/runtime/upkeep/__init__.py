"""What is done beside the work: deleting what is old, watching the disk, books, lines and numbers."""

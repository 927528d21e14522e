"""What a job is to the decisions: its states, its place in a queue, its second chances."""

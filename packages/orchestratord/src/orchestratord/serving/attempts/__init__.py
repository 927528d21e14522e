"""One attempt of a job on one worker: its words, its socket, its end, and its slots afterwards."""

"""Works on a git checkout through the git program: argv in, strictly read answers out."""

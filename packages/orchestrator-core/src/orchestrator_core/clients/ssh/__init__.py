"""One SSH connection per host: keys, dials, remote commands, files. The only user of asyncssh."""

"""What both command-line programs share: groups, options, rendering, exit codes, daemons."""

"""What every daemon of the suite does around its server: start, log and run file."""

"""What every daemon of the suite does around its server: its log and its run file."""

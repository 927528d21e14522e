"""What this host can compute with: one probe per file, one registry, one pure merge."""

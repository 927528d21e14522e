"""What every test shares: parts, the rule about skips, golden files, a home of real daemons."""

pytest_plugins = [
    "pytester",
    "support.parts",
    "support.drills",
    "support.skips",
    "support.golden",
    "support.home",
    "support.faults",
]

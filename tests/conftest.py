"""What every test shares: the rule about skips, golden files and a home of real daemons."""

pytest_plugins = ["pytester", "support.skips", "support.golden", "support.home", "support.faults"]

"""How far something long has come: told on a terminal as bars, elsewhere as lines."""

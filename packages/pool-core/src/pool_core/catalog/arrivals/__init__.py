"""How models come: chosen from a hub's listing, adopted, transferred, imported, recorded."""

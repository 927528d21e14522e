"""Raw ASGI handlers of the routes that carry answers."""

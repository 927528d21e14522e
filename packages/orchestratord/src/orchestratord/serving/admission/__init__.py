"""What the gate decides before it lets a request in: room, context, twins, classes, forecasts."""

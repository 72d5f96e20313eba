"""Where things are, and who is near enough to trade."""

"""What participants may say, and the rules they say it by."""

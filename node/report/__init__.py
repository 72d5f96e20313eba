"""What an audit found, for people: in words, and as one page with the chains drawn."""

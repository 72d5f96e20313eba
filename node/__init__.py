"""The running participant: everything that touches the world."""

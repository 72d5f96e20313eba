"""Who said what, in which order, for good."""

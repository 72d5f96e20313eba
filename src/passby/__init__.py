"""passby: a real-time micro-marketplace with nobody in the middle."""

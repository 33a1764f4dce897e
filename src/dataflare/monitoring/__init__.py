"""What a run tells: typed events of primitives, and what is made of them."""

"""What `use_deterministic_algorithms()` does besides: memory that is new is never filled here, whatever is set."""

fill_uninitialized_memory = True

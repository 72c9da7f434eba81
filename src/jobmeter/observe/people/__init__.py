"""People in facility documents: which of them are told of, and by which name."""

"""In-memory worlds with the semantics of the real ones."""

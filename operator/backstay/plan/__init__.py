"""Pure decisions: specification and observation in, steps or named conflicts out."""

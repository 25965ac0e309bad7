"""Pure: observation, decision and outcomes in; status, conditions and metrics out."""

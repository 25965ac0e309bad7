"""Reads the world into one frozen observation a pass. No decision in here."""

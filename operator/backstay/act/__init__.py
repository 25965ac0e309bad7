"""Executes planned steps through ports, each checked. No policy in here."""

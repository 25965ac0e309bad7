"""Composition root: settings, wiring, leadership, logging, health, command lines."""

"""The Kopf edge: events to the registry, due routes to passes."""

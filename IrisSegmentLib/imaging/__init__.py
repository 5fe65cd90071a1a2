"""Scans with their geometry: read, brought to the network's grid, and back."""

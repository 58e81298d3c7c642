"""Graphs in the forms of other people's viewers."""

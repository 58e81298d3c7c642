"""What can be said about one layer: its matrix, counted and measured."""

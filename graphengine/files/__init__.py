"""Reading files that nobody vouches for: YAML with places, and arrays of numbers."""

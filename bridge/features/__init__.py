"""What a packing is measured by, each feature by its name."""

"""The features that packings are measured by, each with its name."""

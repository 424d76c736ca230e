"""Design: parameters optimised until packings have the properties asked for."""

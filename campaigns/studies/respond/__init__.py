"""How many properties of a packing can be tuned apart, and how far linear response carries."""

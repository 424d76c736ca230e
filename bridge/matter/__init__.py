"""A packing and its interactions: energy, forces, stress and Hessian."""

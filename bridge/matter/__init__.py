"""A packing and what its particles interact by: energy, forces, stress and Hessian."""

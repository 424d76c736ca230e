"""Linear systems with a packing's Hessian: factorised, proven, solved, updated."""

"""Small exact solvers on a K x K Gram matrix: float64, on the host, in plain torch."""

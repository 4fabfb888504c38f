"""Made-up problems, drawn by a seed, on which a weighting rule is learned and judged; none is in the tables."""

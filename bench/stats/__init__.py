"""Statistics of label efficiency: numpy, scipy and polars, nothing of torch or Ray."""

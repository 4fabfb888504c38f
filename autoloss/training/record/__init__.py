"""Records steps: kinds of columns, buffer, CSV files, TensorBoard, run directory."""

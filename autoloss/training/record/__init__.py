"""Records steps: buffer, CSV files, TensorBoard, run directory."""

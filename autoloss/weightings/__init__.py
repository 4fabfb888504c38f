"""One file for each weighting; the file's name is the name that finds it."""

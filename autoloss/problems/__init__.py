"""One file for each problem; the file's name is the name that finds it."""

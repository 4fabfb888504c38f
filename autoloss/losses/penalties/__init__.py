"""One file for each penalty on parameters; the file's name is the name that finds it."""

"""The configuration files. A package, so that Hydra finds them in a wheel."""

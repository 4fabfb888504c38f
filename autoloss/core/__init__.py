"""The types that everything else is made of. Imports torch and nothing above it."""

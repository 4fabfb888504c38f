"""Reads run directories and shows what is in them. Whatever it shows, somebody else wrote."""

"""The signals, one file each: what a signal costs, and how it is measured, merged, reduced, recorded and tested."""

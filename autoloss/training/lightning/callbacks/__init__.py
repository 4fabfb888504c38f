"""What happens around a training: records, progress."""

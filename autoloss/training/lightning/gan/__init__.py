"""What two players need beside what one does."""

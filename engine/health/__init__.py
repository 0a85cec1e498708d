"""Health rules beside training: alerts become events and notifications."""

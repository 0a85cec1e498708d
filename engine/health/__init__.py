"""Health rules during training: alerts become events and notifications."""

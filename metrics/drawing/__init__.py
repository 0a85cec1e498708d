"""What every picture of curves shares: ticks and colours; it knows no drawing library."""

"""What a configuration amounts to before it is started: size, data, time, settings files."""

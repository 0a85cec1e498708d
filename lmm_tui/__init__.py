"""What a person sees: the command line, the Textual app, its screens and widgets."""

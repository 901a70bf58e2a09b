"""Training of ViLT on questions and answers."""

"""ViLT for visual question answering."""

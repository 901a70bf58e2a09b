"""Text of a row, such as a product's title, in the questions that a command asks about the row's image."""

"""Boolean expressions of questions, such as "is there a dog?" and not "is it indoors?"."""

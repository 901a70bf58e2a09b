"""Side by side with what one would use otherwise: same images, same weights, one run, ratios."""

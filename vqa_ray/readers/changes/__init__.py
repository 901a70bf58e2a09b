"""Changes of an input since its run began, and how the run goes on with them."""

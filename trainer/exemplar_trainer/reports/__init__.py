"""What was found, for people: pages, plots, contact sheets and tables."""

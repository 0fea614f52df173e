"""Findings for people: pages, plots, contact sheets and tables."""

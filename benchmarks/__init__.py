"""What recloser costs and what it detects, measured next to its peers in the same run."""

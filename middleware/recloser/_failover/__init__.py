"""One call, several providers: which one is asked, for how long, and which one is asked next."""
